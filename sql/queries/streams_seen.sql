-- What the owners of our shards ($1; null: all) last saw of each stream, where they differ what asks for more care.
-- A row a stream and shard.
SELECT stream,
       min(created),
       min(first_seq),
       min(floor),
       max(mark_seq),
       (array_agg(mark_id::text ORDER BY mark_seq DESC))[1],
       bool_or(lost_at IS NOT NULL),
       min(coalesce(date_part('epoch', begun_at), 0))
FROM outbox_streams
WHERE $1::integer[] IS NULL OR shard = ANY ($1::integer[])
GROUP BY stream
ORDER BY stream
