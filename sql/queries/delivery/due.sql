-- Events whose retry is due, or that an operator has given back, the longest due first; at most $1, of our shards
-- ($2 of $3; null: all), after the retry time $4 and seq $5: where the previous page ended.
-- They share $6 bytes, and a row of more than $7 comes without payload, as do all if $8 is false. The last column is the
-- retry time of each row.
-- Index scan of the partial index on retry_at: nothing to read if nothing is retried. The lower bound keeps a page from
-- the cost of what lies before it, and with both bounds the planner expects few rows even of a table that was never
-- analysed.
WITH candidates AS (
    SELECT
-- include: bounded_candidate
    FROM outbox_events e
    WHERE e.retry_at >= $4::text::timestamptz
      AND (e.retry_at > $4::text::timestamptz OR e.seq > $5)
      AND e.retry_at <= now()
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
-- include: ours($2, $3)
    ORDER BY e.retry_at, e.seq
    LIMIT $1
)
SELECT
-- include: bounded_columns($8::boolean)
       CASE WHEN t.unread THEN t.bytes ELSE 0 END,
       t.retry_at::text
FROM
-- include: bounded_rows($6, $7, $8::boolean, retry_at, seq)
ORDER BY t.retry_at, t.seq
