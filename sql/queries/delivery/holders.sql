-- Transactions that may still commit rows: every insert takes its lock on the table before it draws a seq.
-- Prepared transactions have no process. Fast-path locks are part of pg_locks.
SELECT l.virtualtransaction, l.pid IS NULL
FROM pg_locks l
WHERE l.locktype = 'relation'
  AND l.relation = 'outbox_events'::regclass
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
  AND l.granted
