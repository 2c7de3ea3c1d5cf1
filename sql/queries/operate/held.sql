-- The first $3 pending events among those with a seq above $1 and up to $2, by topic and by whether one of the newest $4 dead
-- letters with their key comes before them: how many events, how many keys, and one of these. At most $5 rows, the most events
-- first.
-- Index scan of the primary key inside the range, and of the partial index on dead_at: its cost follows $3 and $4.
SELECT g.topic, g.blocked, sum(g.events)::bigint, count(g.key), min(g.key COLLATE "C")
FROM (
    SELECT p.topic, d.key IS NOT NULL AS blocked, p.key, count(*) AS events
    FROM (
        SELECT e.seq, e.topic, e.key
        FROM outbox_events e
        WHERE e.seq > $1
          AND e.seq <= $2
          AND e.delivered_at IS NULL
          AND e.dead_at IS NULL
        ORDER BY e.seq
        LIMIT $3
    ) p
    LEFT JOIN (
        SELECT n.key, min(n.seq) AS first_seq
        FROM (
            SELECT x.key, x.seq
            FROM outbox_events x
            WHERE x.dead_at IS NOT NULL
              AND x.discarded_at IS NULL
              AND x.delivered_at IS NULL
            ORDER BY x.dead_at DESC
            LIMIT $4
        ) n
        WHERE n.key IS NOT NULL
        GROUP BY n.key
    ) d ON d.key = p.key AND d.first_seq < p.seq
    GROUP BY 1, 2, 3
) g
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT $5
