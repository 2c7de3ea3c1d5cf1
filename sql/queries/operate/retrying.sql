-- How many events wait for their retry, and when the next one is due; counts no further than $1. Partial index on retry_at.
SELECT count(*), date_part('epoch', min(counted.retry_at))
FROM (
    SELECT e.retry_at FROM outbox_events e
    WHERE e.retry_at IS NOT NULL
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
    ORDER BY e.retry_at
    LIMIT $1
) counted
