-- Dead letters that keep their key waiting: of $1, or all that have a key where $1 is null.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT seq, key
FROM outbox_events
WHERE dead_at IS NOT NULL
  AND delivered_at IS NULL
  AND key IS NOT NULL
  AND ($1::bigint[] IS NULL OR seq = ANY ($1::bigint[]))
ORDER BY seq
