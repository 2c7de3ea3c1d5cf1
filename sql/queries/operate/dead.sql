-- The newest $1 dead letters by kind of reason, the most frequent first. Partial index on dead_at.
SELECT
-- include: kind_of_reason(d.last_error)
       count(*)
FROM (
    SELECT e.last_error
    FROM outbox_events e
    WHERE e.dead_at IS NOT NULL
      AND e.discarded_at IS NULL
      AND e.delivered_at IS NULL
    ORDER BY e.dead_at DESC
    LIMIT $1
) d
GROUP BY 1
ORDER BY 2 DESC, 1
