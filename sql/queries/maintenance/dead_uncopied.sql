-- Dead letters that died at $1 (Unix seconds) or later, that nobody has discarded, and that were not published to the
-- subject for dead letters since they died; the longest dead first, at most $2. Payload and headers come only where they
-- are no larger than $3 bytes.
-- Index scan of the partial index on dead_at from there on: its cost follows the dead letters of the last minute, but for
-- the first look of an owner, which goes over all of them. The bound above says nothing new, but with both the planner
-- expects few rows even of a table that was never analysed.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       CASE WHEN octet_length(convert_to(e.payload::text, 'UTF8')) <= $3 THEN convert_to(e.payload::text, 'UTF8') ELSE '' END,
       CASE WHEN octet_length(e.headers::text) <= $3 THEN e.headers::text END,
       date_part('epoch', e.created_at),
       e.attempts,
       NULL::boolean,
       date_part('epoch', e.dead_at),
       e.last_error,
       octet_length(convert_to(e.payload::text, 'UTF8')),
       e.failure_class
FROM outbox_events e
WHERE e.dead_at >= to_timestamp($1::float8)
  AND e.dead_at <= 'infinity'
  AND e.delivered_at IS NULL
  AND e.discarded_at IS NULL
  AND (e.dead_copied_at IS NULL OR e.dead_copied_at < e.dead_at)
ORDER BY e.dead_at, e.seq
LIMIT $2
