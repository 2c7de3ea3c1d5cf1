-- Those of the dead letters $1 (seqs) that are none any more: an operator gave them back.
-- Primary key look-ups: its cost follows the number of seqs.
SELECT e.seq
FROM outbox_events e
WHERE e.seq = ANY ($1::bigint[])
  AND e.dead_at IS NULL
