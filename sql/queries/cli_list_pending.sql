-- Pending events with a seq above $1 and up to $2, oldest first, at most $6. Topic by regular expression ($3), key
-- ($4), created since ($5, Unix seconds): each may be null.
-- Index scan of the primary key inside the range: its cost follows the range and the limit, not the table.
SELECT e.seq, e.id::text, e.topic, e.key, 'pending',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, NULL::float8, NULL::float8, e.last_error
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND e.retry_at IS NULL
  AND ($3::text IS NULL OR e.topic ~ $3::text)
  AND ($4::text IS NULL OR e.key = $4::text)
  AND ($5::float8 IS NULL OR e.created_at >= to_timestamp($5::float8))
ORDER BY e.seq
LIMIT $6
