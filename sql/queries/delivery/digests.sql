-- Of the seqs $1 those whose events are pending: the id, the key, and a digest of what is sent, to tell whether an event
-- that waits in memory, or that was refused, is still what the table has (relay/rules/reading/row_unchanged.py).
-- A row that is stored in more than $2 bytes has no digest: it is not read.
-- Primary key look-ups; SHA-256 of the payload takes 2 ms a MiB. The caller bounds both.
SELECT e.seq,
       e.id::text,
       CASE WHEN pg_column_size(e.key) <= $2 THEN e.key END,
-- include: digest($2)
FROM outbox_events e
WHERE e.seq = ANY ($1::bigint[])
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
