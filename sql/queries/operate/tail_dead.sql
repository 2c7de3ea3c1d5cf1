-- The $3 newest dead letters (seqs), by the filters $1 (regular expression of the topic) and $2 (key).
-- Partial index on dead_at, from its end.
SELECT e.seq
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
ORDER BY e.dead_at DESC
LIMIT $3
