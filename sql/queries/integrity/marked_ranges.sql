-- The sequences of stream $3, from $4 to $5, at which events with a seq above $1 and up to $2 were stored that were
-- marked at $6 (Unix seconds) or later, whosever they are: the first and the last of each range without a hole.
-- Asked for a long tail that is searched after a crash. Index scan of the primary key inside the range, which the caller
-- keeps small; 0.5 us a row. Two rows may name one sequence (a stream was set back), so ranks are dense.
SELECT min(p.stream_seq), max(p.stream_seq)
FROM (SELECT e.stream_seq, e.stream_seq - dense_rank() OVER (ORDER BY e.stream_seq) AS range
      FROM outbox_events e
      WHERE e.seq > $1
        AND e.seq <= $2
        AND e.stream = $3
        AND e.stream_seq BETWEEN $4 AND $5
        AND e.delivered_at >= to_timestamp($6::float8)) AS p
GROUP BY p.range
ORDER BY 1
