-- Dead letters that died at $1 (Unix seconds) or later, that nobody has discarded, and that were not published to the
-- subject for dead letters since they died; the longest dead first, at most $2. Payload and headers come only if they
-- are no larger than $3 bytes, headers of more than 512 KiB never, since no server takes them, and of a topic and a key the
-- part that a copy names. If $3 is null nothing large is read, and the size of the payload is that on the disk.
-- Index scan of the partial index on dead_at from there on: its cost follows the dead letters of the last minute, but for
-- the first look of an owner, which goes over all of them. The bound above says nothing new, but with both the planner
-- expects few rows even of a table that was never analysed.
SELECT e.seq,
       e.id::text,
       CASE WHEN octet_length(e.topic) <= 1000 THEN e.topic WHEN $3::bigint IS NULL THEN '' ELSE left(e.topic, 1000) END,
       CASE WHEN octet_length(e.key) <= 1000 THEN e.key WHEN $3::bigint IS NOT NULL THEN left(e.key, 1000) END,
       CASE WHEN $3::bigint IS NULL THEN ''
            WHEN octet_length(convert_to(textin(jsonb_out(e.payload)), 'UTF8')) <= $3::bigint THEN convert_to(textin(jsonb_out(e.payload)), 'UTF8')
            ELSE '' END,
       CASE WHEN $3::bigint IS NULL THEN NULL
            WHEN octet_length(e.headers::text) <= least($3::bigint, 524288) THEN e.headers::text END,
       date_part('epoch', e.created_at),
       e.attempts,
       NULL::boolean,
       date_part('epoch', e.dead_at),
       e.last_error,
       CASE WHEN $3::bigint IS NULL THEN pg_column_size(e.payload)
            ELSE octet_length(convert_to(textin(jsonb_out(e.payload)), 'UTF8')) END,
       e.failure_class
FROM outbox_events e
WHERE e.dead_at >= to_timestamp($1::float8)
  AND e.dead_at <= 'infinity'
  AND e.delivered_at IS NULL
  AND e.discarded_at IS NULL
  AND (e.dead_copied_at IS NULL OR e.dead_copied_at < e.dead_at)
ORDER BY e.dead_at, e.seq
LIMIT $2
