-- How many dead letters `prune_dead` would delete that died more than $1 seconds ago; if $2 only discarded ones, if $3 of
-- the others only those whose copy is stored.
-- Partial index on dead_at.
SELECT count(*)
FROM outbox_events e
WHERE e.dead_at >= '-infinity'
  AND e.dead_at < now() - make_interval(secs => $1)
  AND e.delivered_at IS NULL
  AND (e.discarded_at IS NOT NULL OR (NOT $2 AND (NOT $3 OR e.dead_copied_at >= e.dead_at)))
