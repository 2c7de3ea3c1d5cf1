-- The seqs of all dead letters, ascending, by the filters $1 to $8.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.seq
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.delivered_at IS NULL
-- include: filters(e.dead_at)
ORDER BY e.seq
