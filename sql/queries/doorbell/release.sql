-- Awake: inserts need not ring. This session has no other lock, and the table that it was of may have been replaced.
-- If others sleep by our ring ($1), this is the last one.
SELECT pg_advisory_unlock_all(),
       CASE WHEN $1 THEN pg_notify('outbox_events', 'awake') END
