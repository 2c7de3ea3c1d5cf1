-- Awake: inserts need not ring, and the session may be idle. It has no other lock, and the table that it was of may have been
-- replaced. If others sleep by our ring ($1), this is the last one.
SELECT pg_advisory_unlock_all(),
       set_config('idle_session_timeout', '0', false),
       CASE WHEN $1 THEN pg_notify('outbox_events', 'awake') END
