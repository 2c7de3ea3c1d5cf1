-- Raise the attempts of pending events ($1, all of them between $2 and $3) that are sent now. By relay $4, whose epochs
-- add up to $5.
-- Primary key look-ups inside a narrow range; heap-only.
UPDATE outbox_events e
SET attempts = attempts + 1
WHERE e.seq = ANY ($1::bigint[])
  AND e.seq BETWEEN $2 AND $3
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $4) = $5
