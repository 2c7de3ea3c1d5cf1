-- Pending events with a seq above $9 and up to $10, oldest first, at most $11, by the filters $1 to $8: topic (regular
-- expression), key, created since and until (Unix seconds), ids, first and last seq, text in the last error. Each may
-- be null.
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
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.created_at >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR e.created_at < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
ORDER BY e.seq
LIMIT $11
