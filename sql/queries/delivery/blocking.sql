-- Dead letters of our shards ($1 of $2; null: all) that keep their key waiting, since nobody has discarded them.
-- A key of more than 1 MiB bars none: its events are not read. Partial index on dead_at: its cost follows the number of dead letters. The bounds say nothing new, but with them
-- the planner expects few rows even of a table that was never analysed.
SELECT seq, CASE WHEN octet_length(key) <= 1048576 THEN key ELSE left(key, 200) END
FROM outbox_events e
WHERE dead_at >= '-infinity'
  AND dead_at <= 'infinity'
  AND delivered_at IS NULL
  AND discarded_at IS NULL
  AND key IS NOT NULL
-- include: ours($1, $2)
ORDER BY seq
