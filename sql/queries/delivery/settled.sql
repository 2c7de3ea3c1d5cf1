-- Ranges of rows between $1 and $2 (both included) that an earlier run settled, or that are not of our
-- shards ($3 of $4; null: all): they are no gaps.
-- Read only up to the newest seq of the moment at which this owner began. Index scan of the primary key,
-- 0.3 us a row; the caller asks for small ranges.
SELECT min(seq), max(seq)
FROM (
    SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island
    FROM outbox_events
    WHERE seq BETWEEN $1 AND $2
      AND (delivered_at IS NOT NULL OR dead_at IS NOT NULL OR NOT ($3::integer[] IS NULL OR outbox_shard(key, seq, $4) = ANY ($3::integer[])))
) s
GROUP BY island
ORDER BY 1
