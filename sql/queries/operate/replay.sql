-- Events to be replayed with a seq above $9 and up to $10, in the order of seq, at most $12: delivered ones, or discarded
-- ones if $11; by the filters $1 to $8.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT
-- include: event_columns
       false
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND (e.delivered_at IS NULL) = $11
  AND (e.discarded_at IS NOT NULL OR NOT $11)
-- include: filters(coalesce(e.delivered_at, e.dead_at))
ORDER BY e.seq
LIMIT $12
