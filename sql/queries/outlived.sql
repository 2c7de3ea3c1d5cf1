-- The relay has outlived events ($1), delivered or not: those that were never refused have no attempts at all, the
-- others one less. By relay $2, whose epochs add up to $3.
-- Primary key look-ups; heap-only.
UPDATE outbox_events e
SET attempts = CASE WHEN retry_at IS NULL THEN 0 ELSE greatest(attempts - 1, 0) END
WHERE e.seq = ANY ($1::bigint[])
  AND e.dead_at IS NULL
  AND (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $2) = $3
