-- The lowest seq of the events that a stream has lost and that are due to be sent again, of our shards ($1 of $2;
-- null: all); with $3 of all that are due, as what an operator has given back; null without any.
-- Partial index on retry_at: its cost follows the number of events in retry.
SELECT min(e.seq)
FROM outbox_events e
WHERE e.retry_at >= '-infinity'
  AND e.retry_at <= clock_timestamp()
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND (e.stream_seq IS NOT NULL OR $3)
-- include: ours($1, $2)
