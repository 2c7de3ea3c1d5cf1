-- Ranges of rows between $1 and $2 (both included) that an earlier run settled: they are no gaps.
-- Read only up to the newest seq of the moment at which this owner began. Index scan of the primary key,
-- 0.3 us a row; the caller asks for small ranges.
SELECT min(seq), max(seq)
FROM (
    SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island
    FROM outbox_events
    WHERE seq BETWEEN $1 AND $2
      AND (delivered_at IS NOT NULL OR dead_at IS NOT NULL)
) s
GROUP BY island
ORDER BY 1
