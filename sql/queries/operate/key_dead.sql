-- The first $3 dead letters of key $1 with a seq below $2 that nobody has decided about.
-- Partial index on dead_at, chosen without statistics too, by a range and because
-- no other index fits (+ 0): its cost follows the number of dead letters.
SELECT e.seq
FROM outbox_events e
WHERE e.dead_at >= '-infinity'
  AND e.dead_at <= 'infinity'
  AND e.discarded_at IS NULL
  AND e.key = $1
  AND e.seq + 0 < $2
  AND e.delivered_at IS NULL
ORDER BY e.seq
LIMIT $3
