-- Of the dead letters $1 those that nobody has settled: dead, or pending again and not yet delivered. Each with its key as
-- it is now, for somebody may have changed it by hand; whether it is still dead; and whether it has a retry time, by which
-- it is found (due.sql). Of a key of more than 1 MiB the beginning, as in blocking.sql.
-- Primary key look-ups.
SELECT seq,
       CASE WHEN octet_length(key) <= 1048576 THEN key ELSE left(key, 200) END,
       dead_at IS NOT NULL,
       retry_at IS NOT NULL
FROM outbox_events
WHERE seq = ANY ($1::bigint[])
  AND delivered_at IS NULL
  AND discarded_at IS NULL
