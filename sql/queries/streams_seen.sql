-- What the owner of shard $1 last saw of each stream. A row a stream.
SELECT stream, created, first_seq, floor, mark_seq, mark_id::text, lost_at IS NOT NULL,
       coalesce(date_part('epoch', begun_at), 0)
FROM outbox_streams
WHERE shard = $1
ORDER BY stream
