-- How many dead letters there are, counted no further than the newest $1; and a text that is the same as long as they are
-- the same ones. Partial index on dead_at: 0.5 us each.
SELECT count(*), concat_ws(' ', max(d.dead_at), sum(d.seq))
FROM (
    SELECT e.seq, e.dead_at
    FROM outbox_events e
    WHERE e.dead_at IS NOT NULL
      AND e.discarded_at IS NULL
      AND e.delivered_at IS NULL
    ORDER BY e.dead_at DESC
    LIMIT $1
) d
