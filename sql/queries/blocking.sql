-- Dead letters that keep their key waiting, since nobody has discarded them: of $1, or all that have a key where $1
-- is null.
-- Partial index on dead_at: its cost follows the number of dead letters. The bounds say nothing new, but with them
-- the planner expects few rows even of a table that was never analysed.
SELECT seq, key
FROM outbox_events
WHERE dead_at >= '-infinity'
  AND dead_at <= 'infinity'
  AND delivered_at IS NULL
  AND discarded_at IS NULL
  AND key IS NOT NULL
  AND ($1::bigint[] IS NULL OR seq = ANY ($1::bigint[]))
ORDER BY seq
