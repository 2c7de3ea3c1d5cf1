-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq. A row of more than $6 bytes comes without payload (null): a read ends before it, and fetch_bounded.sql goes on.
-- Index scan of the primary key from the cursor on: its cost follows the rows returned (about 2 us each with
-- a payload of 256 bytes), not the size of the table. The payload is not parsed anywhere, and what is stored large is
-- not even decompressed. The LIMIT keeps the inner query apart, so that each text is made once.
-- include: fetched_columns($6)
FROM (
-- include: fetched_candidate($6)
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
-- include: ours($4, $5)
    ORDER BY e.seq
    LIMIT $3
) r
ORDER BY r.seq
