-- Events that wait for their retry, the next due first, at most $4. Topic by regular expression ($1), key ($2),
-- created since ($3, Unix seconds): each may be null.
-- Partial index on retry_at: its cost follows the number of events in retry.
SELECT e.seq, e.id::text, e.topic, e.key, 'retry',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, date_part('epoch', e.retry_at), NULL::float8, e.last_error
FROM outbox_events e
WHERE e.retry_at IS NOT NULL
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.created_at >= to_timestamp($3::float8))
ORDER BY e.retry_at, e.seq
LIMIT $4
