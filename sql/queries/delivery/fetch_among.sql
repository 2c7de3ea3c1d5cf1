-- The next visible rows above the cursor ($1), up to $2, at most $3, in the order of seq: whole if they are pending
-- rows of our shards ($4 of $5), else with nothing but their seq (the id is null).
-- For a replica among others: what others send or have sent is no gap, and one statement sees both at one moment.
-- Index scan of the primary key from the cursor on; 0.7 us for a row that is not ours.
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
                   CASE WHEN NOT b.ours THEN 0 WHEN b.body IS NULL THEN $6::bigint
                        ELSE octet_length(b.body)::bigint + coalesce(octet_length(b.head), 0) + octet_length(b.topic)
                             + coalesce(octet_length(b.key), 0) END AS bytes
            FROM (
                SELECT e.*,
                       CASE WHEN e.ours AND e.stored_before < $6::bigint THEN convert_to(e.payload::text, 'UTF8') END AS body,
                       CASE WHEN e.ours AND e.stored_before < $6::bigint THEN e.headers::text END AS head
                FROM (
                    SELECT f.*,
                           sum(f.stored) OVER (ORDER BY f.seq ROWS UNBOUNDED PRECEDING) - f.stored AS stored_before
                    FROM (
                        SELECT e.seq,
                               CASE WHEN o.ours THEN e.id END AS id,
                               CASE WHEN o.ours THEN e.topic END AS topic,
                               CASE WHEN o.ours THEN e.key END AS key,
                               e.payload,
                               e.headers,
                               e.created_at,
                               e.attempts,
                               e.retry_at,
                               o.ours,
                               CASE WHEN o.ours THEN (coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0))::bigint
                                    ELSE 0 END AS stored
                        FROM outbox_events e,
                             LATERAL (SELECT e.delivered_at IS NULL AND e.dead_at IS NULL
                                             AND outbox_shard(e.key, e.seq, $5) = ANY ($4::integer[]) AS ours) o
                        WHERE e.seq > $1
                          AND e.seq <= $2
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
