-- Transactions that may still commit rows: every insert takes ROW EXCLUSIVE on the table before it draws a seq, also if
-- its transaction holds a stronger lock already. VACUUM, an index build or LOCK TABLE alone hold no gap.
-- Prepared transactions have no process. Fast-path locks are part of pg_locks.
SELECT l.virtualtransaction, l.pid IS NULL
FROM pg_locks l
WHERE l.locktype = 'relation'
  AND l.relation = 'outbox_events'::regclass
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode = 'RowExclusiveLock'
  AND l.granted
