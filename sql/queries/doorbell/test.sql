-- Ring once by ourselves, to learn whether the sleeper hears it.
SELECT pg_notify('outbox_events', 'test')
