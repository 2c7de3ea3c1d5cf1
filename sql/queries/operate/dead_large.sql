-- Those of the newest $1 dead letters that a stream has refused for their size, by topic, at most $2 topics: the key of the
-- largest, how many, how large payload and headers of the largest are, and when the first was given up. Which one that is, is judged by the sizes on the
-- disk, so that one row of each topic is read.
-- Partial index on dead_at; then a probe of the primary key for each topic.
SELECT f.topic, e.key, f.events,
       octet_length(convert_to(textin(jsonb_out(e.payload)), 'UTF8')) + coalesce(octet_length(e.headers::text), 0),
       date_part('epoch', f.first_dead_at)
FROM (
    SELECT r.seq, r.topic, r.events, r.first_dead_at
    FROM (
        SELECT n.seq, n.topic,
               count(*) OVER (PARTITION BY n.topic) AS events,
               min(n.dead_at) OVER (PARTITION BY n.topic) AS first_dead_at,
               row_number() OVER (PARTITION BY n.topic ORDER BY n.stored DESC, n.seq) AS place
        FROM (
            SELECT d.seq, d.topic, d.last_error, d.dead_at,
                   pg_column_size(d.payload) + coalesce(pg_column_size(d.headers), 0) AS stored
            FROM outbox_events d
            WHERE d.dead_at IS NOT NULL
              AND d.discarded_at IS NULL
              AND d.delivered_at IS NULL
            ORDER BY d.dead_at DESC
            LIMIT $1
        ) n
        WHERE n.last_error LIKE 'refused by the stream: %(10054)%'
    ) r
    WHERE r.place = 1
    ORDER BY r.events DESC, r.topic
    LIMIT $2
) f
JOIN outbox_events e ON e.seq = f.seq
ORDER BY f.events DESC, f.topic
