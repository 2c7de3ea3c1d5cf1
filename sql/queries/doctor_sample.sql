-- What is in the table, by topic: of the $2 newest rows, and of the first $2 above the watermark $1 that wait.
-- Two short walks of the primary key; what lies between is not read.
WITH newest AS (
    SELECT seq, topic, key, payload, headers, delivered_at, dead_at
    FROM outbox_events
    ORDER BY seq DESC
    LIMIT $2
), waiting AS (
    SELECT seq, topic, key, payload, headers, delivered_at, dead_at
    FROM outbox_events
    WHERE seq > $1
    ORDER BY seq
    LIMIT $2
), sample AS (
    SELECT * FROM newest
    UNION ALL
    SELECT * FROM waiting w WHERE w.seq < (SELECT min(seq) FROM newest)
)
SELECT e.topic,
       max(e.key),
       count(*),
       count(*) FILTER (WHERE e.delivered_at IS NULL AND e.dead_at IS NULL),
       max(octet_length(convert_to(e.payload::text, 'UTF8')) + coalesce(octet_length(e.headers::text), 0))
FROM sample e
GROUP BY e.topic
ORDER BY e.topic
LIMIT $3
