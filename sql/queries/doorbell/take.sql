-- Ask for the bell before falling asleep: while we hold it, each insert rings. Fails while an insert is open, and
-- while another relay sleeps with it: then (the second column) its ring wakes us as well. The server ends the session of a
-- holder that has asked nothing for so long ($1): a relay that is stopped, or cut off, must not make producers ring for hours.
WITH asked AS MATERIALIZED (
    SELECT pg_try_advisory_lock(1869968482, 'outbox_events'::regclass::oid::integer) AS is_ours
)
SELECT is_ours,
       EXISTS (
           SELECT FROM pg_locks l
           WHERE l.locktype = 'advisory'
             AND l.mode = 'ExclusiveLock'
             AND l.granted
             AND l.pid <> pg_backend_pid()
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.objsubid = 2
             AND l.classid = 1869968482
             AND l.objid = 'outbox_events'::regclass
       )
FROM asked
WHERE CASE WHEN is_ours THEN set_config('idle_session_timeout', $1, false) IS NOT NULL ELSE true END
