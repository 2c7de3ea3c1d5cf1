-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq, as in fetch.sql; for rows of any size.
-- The rows share $6 bytes. Those that do not fit come without payload (null), and a read ends before the first of
-- them; the first one has room in any case, up to $7 bytes. A row of more comes without payload, with its size.
-- What is stored beyond the room is not decompressed. 1.5 us a row more than without bounds.
SELECT t.seq,
       t.id::text,
       CASE WHEN t.bytes <= $7::bigint THEN t.topic ELSE left(t.topic, 200) END,
       CASE WHEN t.bytes <= $7::bigint OR octet_length(t.key) <= 1000 THEN t.key ELSE left(t.key, 200) END,
       CASE WHEN t.bytes > $7::bigint THEN '' WHEN t.total <= $6::bigint OR t.total = t.weight THEN t.body END,
       CASE WHEN t.weight > 0 AND (t.total <= $6::bigint OR t.total = t.weight) THEN t.head END,
       date_part('epoch', t.created_at),
       t.attempts,
       t.retry_at > now(),
       CASE WHEN t.bytes > $7::bigint THEN t.bytes ELSE 0 END
FROM (
    SELECT w.*, sum(w.weight) OVER (ORDER BY w.seq ROWS UNBOUNDED PRECEDING) AS total
    FROM (
        SELECT s.*, CASE WHEN s.bytes > $7::bigint THEN 0 ELSE s.bytes END AS weight
        FROM (
            SELECT b.*,
                   CASE WHEN b.body IS NULL THEN $6::bigint
                        ELSE octet_length(b.body)::bigint + coalesce(octet_length(b.head), 0) + octet_length(b.topic)
                             + coalesce(octet_length(b.key), 0) END AS bytes
            FROM (
                SELECT e.*,
                       CASE WHEN e.stored_before < $6::bigint THEN convert_to(e.payload::text, 'UTF8') END AS body,
                       CASE WHEN e.stored_before < $6::bigint THEN e.headers::text END AS head
                FROM (
                    SELECT f.*,
                           sum(f.stored) OVER (ORDER BY f.seq ROWS UNBOUNDED PRECEDING) - f.stored AS stored_before
                    FROM (
                        SELECT e.seq, e.id, e.topic, e.key, e.payload, e.headers, e.created_at, e.attempts, e.retry_at,
                               (coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0))::bigint AS stored
                        FROM outbox_events e
                        WHERE e.seq > $1
                          AND e.seq <= $2
                          AND e.delivered_at IS NULL
                          AND e.dead_at IS NULL
-- include: ours($4, $5)
                        ORDER BY e.seq
                        LIMIT $3
                    ) f
                ) e
                OFFSET 0
            ) b
            OFFSET 0
        ) s
    ) w
) t
ORDER BY t.seq
