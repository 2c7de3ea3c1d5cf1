-- Ask for the bell before falling asleep: while we hold it, each insert rings. Fails while an insert is open, and
-- while another relay sleeps with it: then (the second column) its ring wakes us as well.
SELECT pg_try_advisory_lock(hashtextextended('outbox_events', 0)),
       EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory'
             AND l.mode = 'ExclusiveLock'
             AND l.granted
             AND l.pid <> pg_backend_pid()
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.objsubid = 1
             AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('outbox_events', 0)
       )
