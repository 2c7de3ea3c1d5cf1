-- How many dead letters `prune_dead` would delete that died more than $1 seconds ago; if $2 only discarded ones.
-- Partial index on dead_at.
SELECT count(*)
FROM outbox_events e
WHERE e.dead_at >= '-infinity'
  AND e.dead_at < clock_timestamp() - make_interval(secs => $1)
  AND e.delivered_at IS NULL
  AND (NOT $2 OR e.discarded_at IS NOT NULL)
