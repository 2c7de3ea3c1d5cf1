-- The first $3 events of key $1 with a seq below $2 that wait for their retry, wherever the watermark is.
-- Partial index on retry_at: its cost follows the number of events in retry.
SELECT e.seq, 'retry', e.last_error
FROM outbox_events e
WHERE e.retry_at IS NOT NULL
  AND e.key = $1
  AND e.seq < $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
ORDER BY e.seq
LIMIT $3
