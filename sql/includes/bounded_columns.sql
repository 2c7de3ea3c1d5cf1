-- bounded_columns(contents): an event of bounded_rows, but for its last column: 0 if it is whole, else how many bytes it has.
-- An event that found no room comes without payload (null), one that is not read with an empty one and no headers: of its
-- topic and key only the beginning then, and of large ones nothing if `contents` is false.
       t.seq,
       t.id::text,
       CASE WHEN NOT t.unread OR octet_length(t.topic) <= 1000 THEN t.topic WHEN :contents THEN left(t.topic, 200) ELSE '' END,
       CASE WHEN NOT t.unread OR octet_length(t.key) <= 1000 THEN t.key WHEN :contents THEN left(t.key, 200) END,
       CASE WHEN t.unread THEN '' WHEN t.has_room THEN t.body END,
       CASE WHEN t.weight > 0 AND t.has_room THEN t.head END,
       date_part('epoch', t.created_at),
       t.attempts,
       t.retry_at > now(),
