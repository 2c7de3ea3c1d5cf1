-- Dead letters, newest first, at most $4. Topic by regular expression ($1), key ($2), dead since ($3, Unix seconds):
-- each may be null.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.seq, e.id::text, e.topic, e.key, 'dead',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, NULL::float8, date_part('epoch', e.dead_at), e.last_error
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.delivered_at IS NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.dead_at >= to_timestamp($3::float8))
ORDER BY e.dead_at DESC, e.seq DESC
LIMIT $4
