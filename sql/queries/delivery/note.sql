-- Write on held events ($1) why they wait ($2) and the class of that ($6); no attempt is counted. Heap-only.
-- By relay $3, whose epochs add up to $4. Their ids are $5.
-- Only on rows that are still what was read of them: their keys ($7) and the digests of what is sent ($8), which are not
-- made of a row that is stored in more than $9 bytes.
-- Rows that somebody else has locked are passed over: a note is not worth waiting for. Thousands of holds may open at
-- once, so fifty notes share a statement and its commit.
WITH unlocked AS (
    SELECT e.seq
    FROM outbox_events e
    WHERE e.seq = ANY ($1::bigint[])
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
-- include: fence($3, $4)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE outbox_events e
SET last_error = n.error,
    failure_class = n.failure_class
FROM unnest($1::bigint[], $2::text[], $5::uuid[], $6::text[], $7::text[], $8::text[])
         AS n (seq, error, id, failure_class, key, sha256),
     unlocked
WHERE e.seq = n.seq
  AND unlocked.seq = e.seq
  AND e.seq = ANY ($1::bigint[])
  AND e.id = n.id
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND e.key IS NOT DISTINCT FROM n.key
  AND (
-- include: digest($9)
  ) = n.sha256
