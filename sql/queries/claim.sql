-- Take the lease of shard $1 for owner $2 and $3 seconds if it is free, run out, or our own from an earlier
-- connection. Each claim is a new epoch, so that no write of an earlier owner can land.
UPDATE outbox_shards
SET owner = $2,
    epoch = epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $3)
WHERE shard = $1
  AND (lease_until < clock_timestamp() OR owner = $2)
RETURNING epoch
