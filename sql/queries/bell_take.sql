-- Ask for the bell before falling asleep: while we hold it, each insert rings. Fails while an insert is open.
SELECT pg_try_advisory_lock(hashtextextended('outbox_events', 0))
