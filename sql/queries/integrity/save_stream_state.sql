-- Write down what was seen of stream $1: created ($2), first_seq ($3), floor ($4), mark ($5, $6), since when it is this
-- stream ($7, Unix seconds), whether a loss was proved that is left open ($8); by relay $9,
-- whose epochs add up to $10. A row for each of its shards, by their primary key.
INSERT INTO outbox_streams AS o (shard, stream, created, first_seq, floor, mark_seq, mark_id, begun_at, lost_at)
SELECT s.shard, $1, $2, $3, $4, $5, $6::uuid, to_timestamp($7::float8), CASE WHEN $8 THEN clock_timestamp() END
FROM outbox_shards s
WHERE s.owner = $9
  AND (SELECT sum(o.epoch) FROM outbox_shards o WHERE o.owner = $9) = $10
ON CONFLICT (shard, stream) DO UPDATE
SET created = excluded.created,
    first_seq = excluded.first_seq,
    floor = excluded.floor,
    mark_seq = excluded.mark_seq,
    mark_id = excluded.mark_id,
    begun_at = excluded.begun_at,
    lost_at = coalesce(o.lost_at, excluded.lost_at)
