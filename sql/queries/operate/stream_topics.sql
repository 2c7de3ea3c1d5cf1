-- The topics of the events with a seq above $1 and up to $2 that were delivered to stream $3, at most $4 of them.
-- Index scan of the primary key inside the range, which the caller keeps small; only for a stream that is gone.
SELECT e.topic
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.stream = $3
  AND e.delivered_at IS NOT NULL
GROUP BY e.topic
ORDER BY e.topic
LIMIT $4
