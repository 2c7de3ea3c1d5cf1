-- The first $3 dead letters of key $1 with a seq below $2 that nobody has decided about.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.seq
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.key = $1
  AND e.seq < $2
  AND e.delivered_at IS NULL
ORDER BY e.seq
LIMIT $3
