-- What is in the table, by topic: of the $2 newest rows, of the first $2 above the watermark $1, and of those further on
-- with a reason why they wait. If $4 is false the sizes are those on the disk, and no payload and headers are read.
-- Walks of the primary key: two short ones, and one over 200,000 seqs at most.
WITH newest AS (
    SELECT seq, topic, key, payload, headers, delivered_at, dead_at, stream
    FROM outbox_events
    ORDER BY seq DESC
    LIMIT $2
), waiting AS (
    SELECT seq, topic, key, payload, headers, delivered_at, dead_at, stream
    FROM outbox_events
    WHERE seq > $1
    ORDER BY seq
    LIMIT $2
), held AS (
    SELECT seq, topic, key, payload, headers, delivered_at, dead_at, stream
    FROM outbox_events
    WHERE seq > (SELECT max(seq) FROM waiting)
      AND seq <= $1::bigint + 200000
      AND delivered_at IS NULL
      AND dead_at IS NULL
      AND last_error IS NOT NULL
    ORDER BY seq
    LIMIT $2
), sample AS (
    SELECT * FROM newest
    UNION ALL
    SELECT * FROM waiting w WHERE w.seq < (SELECT min(seq) FROM newest)
    UNION ALL
    SELECT * FROM held h WHERE h.seq < (SELECT min(seq) FROM newest)
)
SELECT e.topic,
       max(e.key),
       count(*),
       count(*) FILTER (WHERE e.delivered_at IS NULL AND e.dead_at IS NULL),
       max(CASE WHEN $4::boolean
                THEN octet_length(convert_to(textin(jsonb_out(e.payload)), 'UTF8')) + coalesce(octet_length(e.headers::text), 0)
                ELSE pg_column_size(e.payload) + coalesce(pg_column_size(e.headers), 0) END),
       max(e.stream) FILTER (WHERE e.delivered_at IS NOT NULL)
FROM sample e
GROUP BY e.topic
ORDER BY e.topic
LIMIT $3
