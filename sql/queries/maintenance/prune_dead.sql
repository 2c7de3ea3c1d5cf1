-- Delete the $1 oldest dead letters that died more than $2 seconds ago; if $3 only those that the operator has discarded,
-- since a key may wait for the others; if $4 of the others only those whose copy is stored. By relay $5, whose epochs add
-- up to $6; an operator's command is no relay (null). Among the seqs $7 (null: all).
-- Partial index on dead_at: its cost follows the rows deleted.
-- A row that somebody else has locked stays (docs/design/bounds.md).
DELETE FROM outbox_events e
WHERE e.seq = ANY (ARRAY(
          SELECT d.seq
          FROM outbox_events d
          WHERE d.dead_at >= '-infinity'
            AND d.dead_at < now() - make_interval(secs => $2)
            AND d.delivered_at IS NULL
            AND ($7::bigint[] IS NULL OR d.seq = ANY ($7::bigint[]))
            AND (d.discarded_at IS NOT NULL OR (NOT $3 AND (NOT $4 OR d.dead_copied_at >= d.dead_at)))
          ORDER BY d.dead_at
          LIMIT $1
          FOR UPDATE SKIP LOCKED))
  AND e.dead_at IS NOT NULL
  AND e.delivered_at IS NULL
  AND ($5::text IS NULL OR (SELECT sum(o.epoch) FROM outbox_shards o WHERE o.owner = $5::text) = $6::bigint)
