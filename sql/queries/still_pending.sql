-- How many of the events $1 are neither delivered nor dead. Primary key look-ups; asked only when a write changed less
-- than it was to change.
SELECT count(*)
FROM outbox_events
WHERE seq = ANY ($1::bigint[])
  AND delivered_at IS NULL
  AND dead_at IS NULL
