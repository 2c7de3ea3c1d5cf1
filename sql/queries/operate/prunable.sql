-- How many events with a seq above $1 and up to $2 `prune_delivered` would delete that were delivered more than $3 seconds
-- ago. Index scan of the primary key inside the range, which the caller keeps small.
SELECT count(*)
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.seq < (SELECT min(s.watermark) FROM outbox_shards s)
  AND e.delivered_at < now() - make_interval(secs => $3)
