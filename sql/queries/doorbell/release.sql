-- Awake: inserts need not ring. Where others sleep by our ring ($1), this is the last one.
SELECT pg_advisory_unlock(hashtextextended('outbox_events', 0)),
       CASE WHEN $1 THEN pg_notify('outbox_events', 'awake') END
