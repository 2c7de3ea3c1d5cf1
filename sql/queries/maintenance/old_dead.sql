-- The $1 oldest dead letters behind the one that died at $5 and has the seq $6, among those that `prune_dead` would delete
-- with the same $2, $3 and $4: what is searched once that was refused. The time comes as text, so that it comes back exact.
-- Partial index on dead_at from there on: its cost follows the rows returned.
SELECT d.seq, d.dead_at::text
FROM outbox_events d
WHERE d.dead_at >= $5::timestamptz
  AND (d.dead_at > $5::timestamptz OR d.seq > $6::bigint)
  AND d.dead_at < clock_timestamp() - make_interval(secs => $2)
  AND d.delivered_at IS NULL
  AND (d.discarded_at IS NOT NULL OR (NOT $3 AND (NOT $4 OR d.dead_copied_at >= d.dead_at)))
ORDER BY d.dead_at, d.seq
LIMIT $1
