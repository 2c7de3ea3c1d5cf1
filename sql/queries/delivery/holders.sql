-- Transactions that may still commit rows: every insert takes ROW EXCLUSIVE on the table before it draws a seq, also if
-- its transaction holds a stronger lock already. VACUUM, an index build or LOCK TABLE alone hold no gap.
-- Prepared transactions have no process. Fast-path locks are part of pg_locks. An insert into a partition, or a table that
-- inherits from the outbox, locks that alone: its rows are the outbox's, and draw from its sequence.
-- With each comes its id, null if it has none yet. A transaction locks its ids and those of its savepoints; the snapshot
-- names the first alone, in 64 bits. All locks are read at one time: some 100 us, more with thousands of them.
WITH RECURSIVE tables (id) AS (
    SELECT 'outbox_events'::regclass::oid
    UNION ALL
    SELECT i.inhrelid FROM pg_inherits i JOIN tables t ON i.inhparent = t.id
),
locks AS MATERIALIZED (
    SELECT locktype, database, relation, transactionid, virtualtransaction, pid, mode
    FROM pg_locks
    WHERE granted
      AND locktype IN ('relation', 'transactionid')
)
SELECT l.virtualtransaction,
       l.pid IS NULL,
       (SELECT x.xid::text::bigint
        FROM locks t
        JOIN pg_snapshot_xip(pg_current_snapshot()) AS x (xid) ON xid(x.xid) = t.transactionid
        WHERE t.locktype = 'transactionid'
          AND t.mode = 'ExclusiveLock'
          AND t.virtualtransaction = l.virtualtransaction)
FROM locks l
WHERE l.locktype = 'relation'
  AND l.relation IN (SELECT id FROM tables)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode = 'RowExclusiveLock'
