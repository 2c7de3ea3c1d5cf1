-- How many events with a seq above $1 and up to $2 are neither delivered nor dead; counts no further than $3.
-- Index scan of the primary key inside the range.
SELECT count(*)
FROM (
    SELECT FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
    LIMIT $3
) counted
