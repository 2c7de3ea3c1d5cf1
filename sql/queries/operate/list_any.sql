-- Events in any state with a seq above $9 and up to $10, newest first, at most $11, by the filters $1 to $8.
-- Backward index scan of the primary key inside the range, or the unique index on id: its cost follows the range and
-- the limit, or the number of ids.
SELECT
-- include: listed_columns
       e.last_error
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
-- include: filters(e.created_at)
ORDER BY e.seq DESC
LIMIT $11
