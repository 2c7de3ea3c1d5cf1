-- Whether the session $1 stands in line for the bell: from then on inserts of later transactions ring.
SELECT FROM pg_locks
WHERE locktype = 'advisory'
  AND mode = 'ExclusiveLock'
  AND NOT granted
  AND pid = $1
