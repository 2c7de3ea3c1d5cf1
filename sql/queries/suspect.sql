-- Raise the attempts of pending events ($1) that are sent now. By relay $2, whose epochs add up to $3.
-- Primary key look-ups; heap-only.
UPDATE outbox_events e
SET attempts = attempts + 1
WHERE e.seq = ANY ($1::bigint[])
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $2) = $3
