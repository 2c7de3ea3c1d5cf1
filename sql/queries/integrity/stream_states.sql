-- What the owners of our shards ($1; null: all) last saw of each stream; if they differ, what asks for more care.
-- A shard whose owner has not yet saved what it saw may have events some way below the floor of the others.
-- A row a stream and shard.
SELECT stream,
       min(created),
       min(first_seq),
       CASE
           WHEN count(*) < (SELECT count(*) FROM outbox_shards s WHERE $1::integer[] IS NULL OR s.shard = ANY ($1))
           THEN greatest(min(floor) - 10000, 0)
           ELSE min(floor)
       END,
       max(mark_seq),
       (array_agg(mark_id::text ORDER BY mark_seq DESC))[1],
       bool_or(lost_at IS NOT NULL),
       min(coalesce(date_part('epoch', begun_at), 0)),
       coalesce(date_part('epoch', max(repaired_at)), 0),
       coalesce(array_agg(DISTINCT looked_seq || ' ' || looked_id) FILTER (WHERE looked_id IS NOT NULL), '{}')
FROM outbox_streams
WHERE $1::integer[] IS NULL OR shard = ANY ($1::integer[])
GROUP BY stream
ORDER BY stream
