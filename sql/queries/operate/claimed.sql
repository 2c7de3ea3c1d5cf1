-- Which process has the change $1 of the audit table: how its session is called, and the session's number; no row if none.
-- Every login may see both. Reads the table of locks in memory; once a page about a change.
SELECT coalesce(a.application_name, ''), l.pid
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.objsubid = 1
  AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox_audit', $1)
