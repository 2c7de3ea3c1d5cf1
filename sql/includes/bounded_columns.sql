-- bounded_columns(row_bytes): an event of bounded_rows, but for its last column, its size if that is above `row_bytes`, else 0.
-- An event that found no room comes without payload (null), one above `row_bytes` with an empty one and no headers.
       t.seq,
       t.id::text,
       CASE WHEN t.bytes <= :row_bytes::bigint THEN t.topic ELSE left(t.topic, 200) END,
       CASE WHEN t.bytes <= :row_bytes::bigint OR octet_length(t.key) <= 1000 THEN t.key ELSE left(t.key, 200) END,
       CASE WHEN t.bytes > :row_bytes::bigint THEN '' WHEN t.has_room THEN t.body END,
       CASE WHEN t.weight > 0 AND t.has_room THEN t.head END,
       date_part('epoch', t.created_at),
       t.attempts,
       t.retry_at > now(),
