-- Keep the lease of shard $1 in epoch $2 for $3 more seconds, and persist the watermark ($4), which never moves back.
UPDATE outbox_shards
SET lease_until = clock_timestamp() + make_interval(secs => $3),
    watermark_at = CASE WHEN $4 > watermark THEN clock_timestamp() ELSE watermark_at END,
    watermark = greatest(watermark, $4)
WHERE shard = $1
  AND epoch = $2
RETURNING epoch
