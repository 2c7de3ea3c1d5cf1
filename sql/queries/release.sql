-- Give the lease of shard $1 in epoch $2 back and persist the watermark ($3).
UPDATE outbox_shards
SET lease_until = '-infinity',
    owner = NULL,
    watermark_at = CASE WHEN $3 > watermark THEN clock_timestamp() ELSE watermark_at END,
    watermark = greatest(watermark, $3)
WHERE shard = $1
  AND epoch = $2
