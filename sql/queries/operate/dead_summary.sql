-- Dead letters by topic and kind of reason, the most frequent first, by the filters $1 to $8; at most $9 lines. With the
-- first and the last time at which one of each died, and the whole reason of one.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.topic,
-- include: kind_of_reason(e.last_error)
       count(*),
       date_part('epoch', min(e.dead_at)),
       date_part('epoch', max(e.dead_at)),
       min(e.last_error)
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.delivered_at IS NULL
-- include: filters(e.dead_at)
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT $9
