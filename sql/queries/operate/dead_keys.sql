-- How many of the newest $1 dead letters have a key, and how many keys these are. Partial index on dead_at.
SELECT count(d.key), count(DISTINCT d.key)
FROM (
    SELECT e.key
    FROM outbox_events e
    WHERE e.dead_at IS NOT NULL
      AND e.discarded_at IS NULL
      AND e.delivered_at IS NULL
    ORDER BY e.dead_at DESC
    LIMIT $1
) d
