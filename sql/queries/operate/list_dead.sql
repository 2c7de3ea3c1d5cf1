-- Dead letters, newest first, at most $9, by the filters $1 to $8 (see cli_list_pending; the times are those at which
-- they were given up).
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.seq, e.id::text, e.topic, e.key, 'dead',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, NULL::float8, date_part('epoch', e.dead_at), e.last_error
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.delivered_at IS NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.dead_at >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR e.dead_at < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
ORDER BY e.dead_at DESC, e.seq DESC
LIMIT $9
