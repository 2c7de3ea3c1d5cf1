-- One event, by its seq ($1) or its id ($2); the other is null. The payload comes as it is stored, unparsed; if
-- $3 is false neither it nor the headers are read.
-- One probe of the primary key or of the unique index on id.
SELECT
-- include: listed_columns
       e.last_error,
       CASE WHEN $3::boolean THEN e.headers::text END,
       CASE WHEN $3::boolean THEN convert_to(textin(jsonb_out(e.payload)), 'UTF8') ELSE '' END,
       date_part('epoch', e.discarded_at), date_part('epoch', e.dead_copied_at), e.failure_class
FROM outbox_events e
WHERE e.seq = $1::bigint
   OR e.id = $2::uuid
