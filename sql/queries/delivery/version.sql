-- The version of the row of a pending event ($1), whose id is $2: each change gives it another one. Nothing of its contents
-- is read, so it can be asked of a row that cannot be read. Primary key look-up.
SELECT e.xmin::text
FROM outbox_events e
WHERE e.seq = $1
  AND e.id = $2::uuid
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
