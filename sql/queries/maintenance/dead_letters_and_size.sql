-- How many dead letters nobody has decided about, counted up to $1, and the size of the table with its indexes, bytes.
-- For the metrics, every half minute. Index scan of the partial index on dead_at: its cost follows the dead letters, at
-- most $1 of them. The bounds say nothing new, but with them the planner expects few rows even of a table that was never
-- analysed. The size is a look at the files of the table.
SELECT (SELECT count(*)
        FROM (SELECT
              FROM outbox_events
              WHERE dead_at >= '-infinity'
                AND dead_at <= 'infinity'
                AND delivered_at IS NULL
                AND discarded_at IS NULL
              LIMIT $1) AS undecided),
       pg_total_relation_size('outbox_events')
