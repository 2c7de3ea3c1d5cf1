-- The shard of the event with key $1 and seq $2, as cli_shards gives it. One scan of the 64 shards.
SELECT s.shard,
       s.owner,
       s.epoch,
       CASE WHEN isfinite(s.lease_until) THEN date_part('epoch', s.lease_until - clock_timestamp()) END,
       s.watermark,
       date_part('epoch', s.watermark_at)
FROM outbox_shards s
WHERE s.shard = outbox_shard($1::text, $2::bigint, (SELECT count(*) FROM outbox_shards))
