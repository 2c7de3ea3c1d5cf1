-- One event, by its seq ($1) or its id ($2); the other is null. The payload comes as it is stored, unparsed.
-- One probe of the primary key or of the unique index on id.
SELECT
-- include: listed_columns
       e.last_error,
       e.headers::text,
       convert_to(e.payload::text, 'UTF8'),
       date_part('epoch', e.discarded_at), date_part('epoch', e.dead_copied_at), e.failure_class
FROM outbox_events e
WHERE e.seq = $1::bigint
   OR e.id = $2::uuid
