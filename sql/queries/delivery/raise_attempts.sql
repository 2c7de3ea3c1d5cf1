-- Raise the attempts of pending events ($1) that are sent now, to $2 each. By relay $3, whose epochs add up to $4.
-- Their ids are $5. Attempts that were changed since they were read stay as they are.
-- Primary key look-ups; heap-only.
-- A row that somebody else has locked is left as it is (docs/design/bounds.md).
UPDATE outbox_events e
SET attempts = d.attempts
FROM unnest($1::bigint[], $2::integer[], $5::uuid[]) AS d (seq, attempts, id)
WHERE e.seq = d.seq
  AND e.id = d.id
  AND e.seq = ANY (ARRAY(SELECT o.seq FROM outbox_events o WHERE o.seq = ANY ($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED))
  AND e.attempts = d.attempts - 1
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: fence($3, $4)
