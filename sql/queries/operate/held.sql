-- The first $3 pending events among those with a seq above $1 and up to $2, and whether one of the newest $4 dead letters with
-- their key comes before them. At most $5 rows of two kinds, the most events or keys first: for a topic, how many events, and
-- one of their keys; and for topics that keys have in common, how many keys have exactly these, so that each counts once.
-- Index scan of the primary key inside the range, and of the partial index on dead_at: its cost follows $3 and $4.
WITH q AS (
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
)
(
    SELECT ARRAY[q.topic], q.blocked, sum(q.events)::bigint AS events, 0::bigint, min(q.key COLLATE "C")
    FROM q
    GROUP BY q.topic, q.blocked
    ORDER BY events DESC, q.topic, q.blocked
    LIMIT $5
)
UNION ALL
(
    SELECT k.topics, k.blocked, 0, count(*) AS keys, NULL
    FROM (
        SELECT array_agg(q.topic ORDER BY q.topic) AS topics, q.blocked
        FROM q
        WHERE q.key IS NOT NULL
        GROUP BY q.key, q.blocked
    ) k
    GROUP BY k.topics, k.blocked
    ORDER BY keys DESC, k.topics, k.blocked
    LIMIT $5
)
