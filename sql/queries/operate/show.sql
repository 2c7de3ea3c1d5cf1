-- One event, by its seq ($1) or its id ($2); the other is null. The payload comes as it is stored, unparsed.
-- One probe of the primary key or of the unique index on id.
SELECT e.seq, e.id::text, e.topic, e.key,
       CASE
           WHEN e.delivered_at IS NOT NULL THEN 'delivered'
           WHEN e.discarded_at IS NOT NULL THEN 'discarded'
           WHEN e.dead_at IS NOT NULL THEN 'dead'
           WHEN e.retry_at IS NOT NULL THEN 'retry'
           ELSE 'pending'
       END,
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, date_part('epoch', e.retry_at), date_part('epoch', e.dead_at), e.last_error,
       e.headers::text,
       convert_to(e.payload::text, 'UTF8'),
       date_part('epoch', e.discarded_at), date_part('epoch', e.dead_copied_at), e.failure_class
FROM outbox_events e
WHERE e.seq = $1::bigint
   OR e.id = $2::uuid
