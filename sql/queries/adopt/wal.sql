-- Where the log stands.
SELECT pg_current_wal_insert_lsn()::text
