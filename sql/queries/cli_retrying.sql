-- How many events wait for their retry; counts no further than $1. Partial index on retry_at.
SELECT count(*)
FROM (
    SELECT FROM outbox_events e
    WHERE e.retry_at IS NOT NULL
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
    LIMIT $1
) counted
