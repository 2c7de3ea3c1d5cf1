-- Delete the events with a seq above $1 and up to $2 that were delivered more than $3 seconds ago; returns how many, when
-- the oldest of all was delivered, and when the oldest of those that stay (Unix seconds).
-- Only below the watermark, so that a start finds everything above it, and its own row stays as the newest; nothing while
-- a stream has a loss that nobody has healed, since the rows are what it would be healed from.
-- By relay $4, whose epochs add up to $5; an operator's command is no relay (null).
-- Index scan of the primary key inside the range, which the caller keeps small: some 5 us a row, and row locks on events
-- that nobody else writes to.
-- A row that somebody else has locked stays (docs/design/bounds.md).
WITH pruned AS (
    DELETE FROM outbox_events e
    WHERE e.seq = ANY (ARRAY(
              SELECT d.seq
              FROM outbox_events d
              WHERE d.seq > $1
                AND d.seq <= $2
                AND d.seq < (SELECT min(s.watermark) FROM outbox_shards s)
                AND d.delivered_at < clock_timestamp() - make_interval(secs => $3)
              FOR UPDATE SKIP LOCKED))
      AND e.delivered_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM outbox_streams o WHERE o.lost_at IS NOT NULL)
      AND ($4::text IS NULL OR (SELECT sum(o.epoch) FROM outbox_shards o WHERE o.owner = $4::text) = $5::bigint)
    RETURNING e.seq
)
SELECT (SELECT count(*) FROM pruned),
       date_part('epoch', min(e.delivered_at)),
       date_part('epoch', min(e.delivered_at) FILTER (WHERE e.seq NOT IN (SELECT p.seq FROM pruned p)))
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NOT NULL
