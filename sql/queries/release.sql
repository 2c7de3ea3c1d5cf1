-- Give the leases of shards ($1) in their epochs ($2) back and persist their watermark ($3: seq, $4: Unix seconds).
UPDATE outbox_shards s
SET lease_until = '-infinity',
    owner = NULL,
    watermark = greatest(s.watermark, $3),
    watermark_at = greatest(s.watermark_at, to_timestamp($4))
FROM unnest($1::integer[], $2::bigint[]) AS held (shard, epoch)
WHERE s.shard = held.shard
  AND s.epoch = held.epoch
