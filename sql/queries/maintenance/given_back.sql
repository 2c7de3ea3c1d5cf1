-- Whether events up to seq $1, of all shards, are pending again: what a stream has lost, and what an operator has given back.
-- Index scan of the partial index on retry_at, up to the first of them; with both bounds the planner expects few rows even of
-- a table that was never analysed. What waits for its retry lies above the watermark: so the longest scan is over all that
-- waits, and seldom, since the watermark hardly rises meanwhile.
SELECT EXISTS (
    SELECT FROM outbox_events e
    WHERE e.retry_at >= '-infinity'
      AND e.retry_at <= 'infinity'
      AND e.seq <= $1
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
)
