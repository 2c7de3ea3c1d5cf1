-- Dead letters of our shards ($1 of $2; null: all) that keep their key waiting, since nobody has discarded them.
-- Partial index on dead_at: its cost follows the number of dead letters. The bounds say nothing new, but with them
-- the planner expects few rows even of a table that was never analysed.
SELECT seq, key
FROM outbox_events e
WHERE dead_at >= '-infinity'
  AND dead_at <= 'infinity'
  AND delivered_at IS NULL
  AND discarded_at IS NULL
  AND key IS NOT NULL
-- include: ours($1, $2)
ORDER BY seq
