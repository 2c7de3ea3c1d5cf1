-- Events whose retry is due, or that a person has given back, the longest due first; at most $1,
-- of our shards ($2 of $3; null: all).
-- Index scan of the partial index on retry_at: nothing to read where nothing is retried. The lower bound says
-- nothing new, but with both the planner expects few rows even of a table that was never analysed.
SELECT
-- include: event_columns
       e.retry_at > now()
FROM outbox_events e
WHERE e.retry_at >= '-infinity'
  AND e.retry_at <= now()
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: ours($2, $3)
ORDER BY e.retry_at, e.seq
LIMIT $1
