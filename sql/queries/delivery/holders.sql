-- Transactions that may still commit rows: every insert takes ROW EXCLUSIVE on the table before it draws a seq, also if
-- its transaction holds a stronger lock already. VACUUM, an index build or LOCK TABLE alone hold no gap.
-- Prepared transactions have no process. Fast-path locks are part of pg_locks. An insert into a partition, or a table that
-- inherits from the outbox, locks that alone: its rows are the outbox's, and draw from its sequence.
WITH RECURSIVE tables (id) AS (
    SELECT 'outbox_events'::regclass::oid
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN tables t ON i.inhparent = t.id
)
SELECT l.virtualtransaction, l.pid IS NULL
FROM pg_locks l
WHERE l.locktype = 'relation'
  AND l.relation IN (SELECT id FROM tables)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode = 'RowExclusiveLock'
  AND l.granted
