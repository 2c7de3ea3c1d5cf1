-- Let dead letters ($1, their seqs) be: they stay in the table, settled, and no key waits for them.
-- Primary key look-ups; heap-only, since no index holds the column.
UPDATE outbox_events
SET discarded_at = now()
WHERE seq = ANY ($1::bigint[])
  AND dead_at IS NOT NULL
  AND discarded_at IS NULL
  AND delivered_at IS NULL
