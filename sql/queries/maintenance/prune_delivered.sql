-- Delete the events with a seq above $1 and up to $2 that were delivered more than $3 seconds ago to one of the streams $6
-- (null: to any); returns how many, when the oldest of all was delivered, when the oldest of those that stay (Unix
-- seconds) without those that are old enough and went to another stream, and the streams of these.
-- Only below the watermark, so that a start finds everything above it, and its own row stays as the newest; nothing while
-- a stream has a loss that nobody has healed, since the rows are what it would be healed from.
-- By relay $4, whose epochs add up to $5; an operator's command is no relay (null).
-- Index scan of the primary key inside the range, which the caller keeps small: some 5 us a row, and row locks on events
-- that nobody else writes to.
-- A row that somebody else has locked stays (docs/design/bounds.md).
WITH old AS (
    SELECT min(s.watermark) AS below, now() - make_interval(secs => $3) AS before
    FROM outbox_shards s
),
pruned AS (
    DELETE FROM outbox_events e
    WHERE e.seq = ANY (ARRAY(
              SELECT d.seq
              FROM outbox_events d
              WHERE d.seq > $1
                AND d.seq <= $2
                AND d.seq < (SELECT o.below FROM old o)
                AND d.delivered_at < (SELECT o.before FROM old o)
                AND (d.stream IS NULL OR $6::text[] IS NULL OR d.stream = ANY ($6::text[]))
              FOR UPDATE SKIP LOCKED))
      AND e.delivered_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM outbox_streams o WHERE o.lost_at IS NOT NULL)
      AND ($4::text IS NULL OR (SELECT sum(o.epoch) FROM outbox_shards o WHERE o.owner = $4::text) = $5::bigint)
    RETURNING e.seq
)
SELECT (SELECT count(*) FROM pruned),
       date_part('epoch', min(e.delivered_at)),
       date_part('epoch', min(e.delivered_at) FILTER (
           WHERE e.waits_for IS NULL AND e.seq NOT IN (SELECT p.seq FROM pruned p))),
       coalesce(array_agg(DISTINCT e.waits_for) FILTER (WHERE e.waits_for IS NOT NULL), '{}')
FROM (
    SELECT d.seq,
           d.delivered_at,
           CASE
               WHEN d.seq < o.below AND d.delivered_at < o.before AND NOT d.stream = ANY ($6::text[]) THEN d.stream
           END AS waits_for
    FROM outbox_events d
    CROSS JOIN old o
    WHERE d.seq > $1
      AND d.seq <= $2
      AND d.delivered_at IS NOT NULL
) e
