-- What keeps its key waiting when an owner of our shards ($1 of $2; null: all) begins above the seq $3: the dead letters
-- that nobody has discarded, and the events below it that an operator has given back. No fetch brings those, so that later
-- events of their keys would go first; what a stream has lost comes back by redeliver_from.sql. One statement sees a dead
-- letter in either form, whenever it is given back.
-- A key of more than 1 MiB bars none: its events are not read.
-- Partial indexes on dead_at and retry_at: the cost follows the number of dead letters and of events in retry. The bounds
-- say nothing new, but with them the planner expects few rows even of a table that was never analysed. MATERIALIZED keeps
-- it from a walk along the primary key up to $3.
WITH retried AS MATERIALIZED (
    SELECT seq, key
    FROM outbox_events e
    WHERE retry_at >= '-infinity'
      AND retry_at <= 'infinity'
      AND delivered_at IS NULL
      AND dead_at IS NULL
      AND key IS NOT NULL
      AND stream_seq IS NULL
-- include: ours($1, $2)
)
SELECT b.seq, CASE WHEN octet_length(b.key) <= 1048576 THEN b.key ELSE left(b.key, 200) END
FROM (
    SELECT seq, key
    FROM outbox_events e
    WHERE dead_at >= '-infinity'
      AND dead_at <= 'infinity'
      AND delivered_at IS NULL
      AND discarded_at IS NULL
      AND key IS NOT NULL
-- include: ours($1, $2)
    UNION ALL
    SELECT seq, key
    FROM retried
    WHERE seq <= $3
) b
ORDER BY b.seq
