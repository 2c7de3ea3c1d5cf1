-- Events that wait for their retry, the next due first, at most $9, by the filters $1 to $8.
-- Partial index on retry_at: its cost follows the number of events in retry.
SELECT e.seq, e.id::text, e.topic, e.key, 'retry',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, date_part('epoch', e.retry_at), NULL::float8, e.last_error
FROM outbox_events e
WHERE e.retry_at IS NOT NULL
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: filters(e.created_at)
ORDER BY e.retry_at, e.seq
LIMIT $9
