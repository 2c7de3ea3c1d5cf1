-- How many events of the range above $9 and up to $10 `replay` would return, by topic, with the lowest seq of each, in the
-- order of that seq.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT e.topic, count(*), min(e.seq)
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND (e.delivered_at IS NULL) = $11
  AND (e.discarded_at IS NOT NULL OR NOT $11)
-- include: filters(coalesce(e.delivered_at, e.dead_at))
GROUP BY e.topic
ORDER BY min(e.seq)
