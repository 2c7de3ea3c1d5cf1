-- The first $4 events of key $1 with a seq above $2 and below $3 that are neither delivered nor dead.
-- Index scan of the primary key inside the range: its cost follows the backlog.
SELECT e.seq, CASE WHEN e.retry_at IS NULL THEN 'pending' ELSE 'retry' END, e.last_error
FROM outbox_events e
WHERE e.key = $1
  AND e.seq > $2
  AND e.seq < $3
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
ORDER BY e.seq
LIMIT $4
