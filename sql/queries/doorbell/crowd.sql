-- How many sessions wait to ring. NOTIFY takes this lock, of no database, until its commit is on disk: whoever rings waits for whoever
-- rang before. Reads the locks of the server, at most four times a second, and only while inserts ring and come; 0.2 ms.
SELECT count(*)
FROM pg_locks
WHERE NOT granted
  AND locktype = 'object'
  AND database = 0
  AND classid = 'pg_database'::regclass
  AND objid = 0
