-- Give dead letters ($1, their seqs) back to the relay: due at once, with no attempt counted. now() is the same for all
-- of a statement, so that they are due in the order of seq.
-- Primary key look-ups.
UPDATE outbox_events
SET dead_at = NULL,
    retry_at = now(),
    attempts = 0
WHERE seq = ANY ($1::bigint[])
  AND dead_at IS NOT NULL
  AND discarded_at IS NULL
  AND delivered_at IS NULL
