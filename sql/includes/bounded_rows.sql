-- bounded_rows(room, row_bytes, contents, place): the rows of `candidates`, in the order of `place`, as they share `room`
-- bytes; for FROM.
-- The first row has room in any case, up to `row_bytes`; after it a read ends before the first row that finds none. A row of
-- more than `row_bytes` is not read (`unread`), nor is one of more than 1 MiB beside its payload: no server takes such headers,
-- and a key stays in memory as long as its event waits. What is stored beyond the room is not decompressed, and each OFFSET
-- keeps a text from being made twice. 1.5 us a row more than without bounds. If `contents` is false no payload and headers
-- are touched: every row of ours is unread. Of `candidates` are needed: the columns of an event, `stored` (bytes on the page or beside it) and `ours`.
(
    SELECT r.*, r.total <= :room::bigint OR r.total = r.weight AS has_room
    FROM (
        SELECT w.*, sum(w.weight) OVER (ORDER BY :place ROWS UNBOUNDED PRECEDING) AS total
        FROM (
            SELECT s.*, CASE WHEN s.unread THEN 0 ELSE s.bytes END AS weight
            FROM (
                SELECT c.*,
                       c.ours AND (NOT :contents OR c.bytes > :row_bytes::bigint OR c.beside > 1048576) AS unread
                FROM (
                    SELECT b.*,
                           coalesce(octet_length(b.head), 0) + octet_length(b.topic) + coalesce(octet_length(b.key), 0) AS beside,
                           CASE WHEN NOT b.ours THEN 0
                                WHEN NOT :contents THEN 1
                                WHEN b.body IS NULL THEN :room::bigint
                                ELSE octet_length(b.body)::bigint + coalesce(octet_length(b.head), 0) + octet_length(b.topic)
                                     + coalesce(octet_length(b.key), 0) END AS bytes
                    FROM (
                        SELECT e.*,
                               CASE WHEN e.ours AND :contents AND e.before < :room::bigint
                                    THEN convert_to(textin(jsonb_out(e.payload)), 'UTF8') END AS body,
                               CASE WHEN e.ours AND :contents AND e.before < :room::bigint THEN e.headers::text END AS head
                        FROM (
                            SELECT c.*, sum(c.stored) OVER (ORDER BY :place ROWS UNBOUNDED PRECEDING) - c.stored AS before
                            FROM candidates c
                        ) e
                        OFFSET 0
                    ) b
                    OFFSET 0
                ) c
            ) s
        ) w
    ) r
) t
