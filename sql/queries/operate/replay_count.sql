-- How many events cli_replay would give of the range above $9 and up to $10, by topic, with the lowest seq of each; in
-- the order of that seq.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT e.topic, count(*), min(e.seq)
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND (e.delivered_at IS NULL) = $11
  AND (e.discarded_at IS NOT NULL OR NOT $11)
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR coalesce(e.delivered_at, e.dead_at) >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR coalesce(e.delivered_at, e.dead_at) < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
GROUP BY e.topic
ORDER BY min(e.seq)
