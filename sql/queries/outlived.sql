-- The relay has outlived events ($1, all of them between $2 and $3), delivered or not: those that were never refused have
-- no attempts at all, the others one less. By relay $4, whose epochs add up to $5.
-- Primary key look-ups inside a narrow range; heap-only.
UPDATE outbox_events e
SET attempts = CASE WHEN retry_at IS NULL THEN 0 ELSE greatest(attempts - 1, 0) END
WHERE e.seq = ANY ($1::bigint[])
  AND e.seq BETWEEN $2 AND $3
  AND e.dead_at IS NULL
  AND (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $4) = $5
