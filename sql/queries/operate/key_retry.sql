-- The first $3 events of key $1 with a seq below $2 that wait for their retry, wherever the watermark is.
-- Partial index on retry_at, chosen without statistics too, by a range and because
-- no other index fits (+ 0): its cost follows the number of events in retry.
SELECT e.seq, 'retry', e.last_error
FROM outbox_events e
WHERE e.retry_at >= '-infinity'
  AND e.retry_at <= 'infinity'
  AND e.key = $1
  AND e.seq + 0 < $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
ORDER BY e.seq
LIMIT $3
