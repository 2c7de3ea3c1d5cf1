-- Why pending events with a seq above $1 and up to $2 wait, as the relay has written it on one of each kind: the reason, how
-- many events have it, the first of them, and the class of the failure. Looks at the first $3 pending events.
-- Index scan of the primary key inside the range.
SELECT w.last_error, count(*), min(w.seq), (array_agg(w.topic ORDER BY w.seq))[1], date_part('epoch', min(w.created_at)),
       w.failure_class
FROM (
    SELECT e.seq, e.topic, e.last_error, e.failure_class, e.retry_at, e.created_at
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
    ORDER BY e.seq
    LIMIT $3
) w
WHERE w.last_error IS NOT NULL
  AND w.retry_at IS NULL
GROUP BY w.last_error, w.failure_class
ORDER BY min(w.seq)
LIMIT 10
