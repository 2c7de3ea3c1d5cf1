-- Take the leases of at most $3 shards that are free or whose lease has run out, for owner $1 and $2 seconds.
-- Each claim is a new epoch, so that no write of an earlier owner can land.
-- Gives these, and what is the owner's already: where the answer to a claim was lost, it is asked again, and what was
-- taken then must be known, since the epochs of all that it owns are the fence of its writes.
WITH taken AS (
    UPDATE outbox_shards s
    SET owner = $1,
        epoch = s.epoch + 1,
        lease_until = clock_timestamp() + make_interval(secs => $2)
    FROM (
        SELECT shard FROM outbox_shards
        WHERE lease_until < clock_timestamp()
        ORDER BY shard
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) free
    WHERE s.shard = free.shard
    RETURNING s.shard, s.epoch
)
SELECT shard, epoch FROM taken
UNION ALL
SELECT s.shard, s.epoch
FROM outbox_shards s
WHERE s.owner = $1
  AND s.lease_until >= clock_timestamp()
  AND s.shard NOT IN (SELECT t.shard FROM taken t)
