-- Dead letters, newest first, at most $9, by the filters $1 to $8.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.seq, e.id::text, e.topic, e.key, 'dead',
       date_part('epoch', e.created_at), NULL::float8, NULL::text, NULL::bigint,
       e.attempts, NULL::float8, date_part('epoch', e.dead_at), e.last_error
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.delivered_at IS NULL
-- include: filters(e.dead_at)
ORDER BY e.dead_at DESC, e.seq DESC
LIMIT $9
