-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq, as in fetch.sql; for rows of any size: they share $6 bytes, and a row of more than $7 comes without payload, as
-- do all if $8 is false.
WITH candidates AS (
    SELECT
-- include: bounded_candidate
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
-- include: ours($4, $5)
    ORDER BY e.seq
    LIMIT $3
)
SELECT
-- include: bounded_columns($8::boolean)
       CASE WHEN t.unread THEN t.bytes ELSE 0 END
FROM
-- include: bounded_rows($6, $7, $8::boolean, seq)
ORDER BY t.seq
