-- The relay has outlived events ($1), delivered or not, whose attempts it had raised to $2: those that were never refused
-- have none at all, the others one less. By relay $3, whose epochs add up to $4.
-- Their ids are $5.
-- Primary key look-ups; heap-only.
-- A row that somebody else has locked is left as it is (docs/design/bounds.md).
UPDATE outbox_events e
SET attempts = CASE WHEN e.retry_at IS NULL THEN 0 ELSE greatest(e.attempts - 1, 0) END
FROM unnest($1::bigint[], $2::integer[], $5::uuid[]) AS d (seq, attempts, id)
WHERE e.seq = d.seq
  AND e.id = d.id
  AND e.seq = ANY (ARRAY(SELECT o.seq FROM outbox_events o WHERE o.seq = ANY ($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED))
  AND e.attempts = d.attempts
  AND e.dead_at IS NULL
-- include: fence($3, $4)
