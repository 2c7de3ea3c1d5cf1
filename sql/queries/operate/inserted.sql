-- What was created in the last $3 seconds of the events with a seq above $1 and up to $2, by topic, at most $5 of them: how many,
-- how many of them in the fullest slot of $4 seconds, one of their keys. And with each row, since when the events of this range
-- are known (Unix seconds): when its first one was created.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT s.topic, sum(s.events)::bigint AS events, max(s.events)::bigint, min(s.key),
       (SELECT date_part('epoch', f.created_at) FROM outbox_events f WHERE f.seq > $1 AND f.seq <= $2 ORDER BY f.seq LIMIT 1)
FROM (
    SELECT e.topic, count(*) AS events, min(e.key COLLATE "C") AS key
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.created_at >= statement_timestamp() - make_interval(secs => $3)
      AND e.created_at <= statement_timestamp()
    GROUP BY e.topic, floor(date_part('epoch', e.created_at) / $4::float8)
) s
GROUP BY s.topic
ORDER BY events DESC, s.topic
LIMIT $5
