-- Who owns each shard, for how many more seconds (negative: ago, null: never owned), and its watermark.
SELECT s.shard,
       s.owner,
       s.epoch,
       CASE WHEN isfinite(s.lease_until) THEN date_part('epoch', s.lease_until - clock_timestamp()) END,
       s.watermark,
       date_part('epoch', s.watermark_at)
FROM outbox_shards s
ORDER BY s.shard
