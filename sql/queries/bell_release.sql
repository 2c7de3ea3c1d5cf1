-- Awake: inserts need not ring.
SELECT pg_advisory_unlock(hashtextextended('outbox_events', 0))
