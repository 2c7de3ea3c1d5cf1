-- One migrator of this outbox at a time, until the end of the transaction; no relay and no producer takes this lock.
SELECT pg_advisory_xact_lock(hashtextextended('outbox_migrations', 1))
