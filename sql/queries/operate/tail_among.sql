-- Those of the events $1 (seqs) that are visible, by the filters $2 (regular expression of the topic) and $3 (key),
-- as in cli_list_any.
-- Primary key look-ups: its cost follows the number of seqs.
SELECT e.seq, e.id::text, e.topic, e.key, CASE
           WHEN e.delivered_at IS NOT NULL THEN 'delivered'
           WHEN e.discarded_at IS NOT NULL THEN 'discarded'
           WHEN e.dead_at IS NOT NULL THEN 'dead'
           WHEN e.retry_at IS NOT NULL THEN 'retry'
           ELSE 'pending'
       END,
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, date_part('epoch', e.retry_at), date_part('epoch', e.dead_at), e.last_error
FROM outbox_events e
WHERE e.seq = ANY ($1::bigint[])
  AND ($2::text IS NULL OR e.topic ~ $2::text)
  AND ($3::text IS NULL OR e.key = $3::text)
