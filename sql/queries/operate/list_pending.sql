-- Pending events with a seq above $9 and up to $10, oldest first, at most $11, by the filters $1 to $8.
-- Index scan of the primary key inside the range: its cost follows the range and the limit, not the table.
SELECT e.seq, e.id::text, e.topic, e.key, 'pending',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, NULL::float8, NULL::float8, e.last_error
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND e.retry_at IS NULL
-- include: filters(e.created_at)
ORDER BY e.seq
LIMIT $11
