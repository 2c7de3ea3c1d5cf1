-- Of the dead letters $1 those that still keep their key waiting: dead, or given back and not yet delivered.
-- Primary key look-ups.
SELECT seq
FROM outbox_events
WHERE seq = ANY ($1::bigint[])
  AND delivered_at IS NULL
  AND discarded_at IS NULL
