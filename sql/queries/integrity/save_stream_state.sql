-- Save what was seen of stream $1: created ($2), first_seq ($3), floor ($4), mark ($5, $6), since when it is this
-- stream ($7, Unix seconds), whether a loss was proved that is left open ($8), when lost events were given back, if that
-- has not shown to help yet ($9, Unix seconds, else 0), the mark of the last look ($13, $14; 0 and null: there was none
-- since the last comparison; null: what is written down stays, several owners may have written it); by relay $11, whose epochs add up to $12.
-- A row for each of its shards, by their primary key.
--
-- A floor is true for the database whose marks it was made from. After a failover it is another one, which may have lost
-- the newest marks: so nothing is saved in a database whose identity (delivery/start.sql) is not $10.
INSERT INTO outbox_streams AS o
    (shard, stream, created, first_seq, floor, mark_seq, mark_id, begun_at, lost_at, repaired_at, looked_seq, looked_id)
SELECT s.shard, $1, $2, $3, $4, $5, $6::uuid, to_timestamp($7::float8), CASE WHEN $8 THEN clock_timestamp() END,
       to_timestamp(nullif($9::float8, 0)), $13::bigint, $14::uuid
FROM outbox_shards s
WHERE s.owner = $11
  AND (SELECT sum(o.epoch) FROM outbox_shards o WHERE o.owner = $11) = $12
  AND outbox_identity('outbox_events', 'outbox_shards', 'outbox_streams', 'outbox_members') = $10
ON CONFLICT (shard, stream) DO UPDATE
SET created = excluded.created,
    first_seq = excluded.first_seq,
    floor = excluded.floor,
    mark_seq = excluded.mark_seq,
    mark_id = excluded.mark_id,
    begun_at = excluded.begun_at,
    lost_at = coalesce(o.lost_at, excluded.lost_at),
    repaired_at = excluded.repaired_at,
    looked_seq = coalesce(excluded.looked_seq, o.looked_seq),
    looked_id = CASE WHEN excluded.looked_seq IS NULL THEN o.looked_id ELSE excluded.looked_id END
