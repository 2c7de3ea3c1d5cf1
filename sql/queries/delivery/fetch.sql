-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq.
-- Index scan of the primary key from the cursor on: its cost follows the rows returned (about 2 us each with
-- a payload of 256 bytes), not the size of the table. The payload is not parsed anywhere.
SELECT
-- include: event_columns
       e.retry_at > now()
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: ours($4, $5)
ORDER BY e.seq
LIMIT $3
