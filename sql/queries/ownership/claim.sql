-- Take the leases of at most $3 shards that are free or whose lease has run out, for owner $1 and $2 seconds.
-- Each claim is a new epoch, so that no write of an earlier owner can land. Another owner that has not given a shard
-- back has crashed: counted in crashes.
-- Return shard, epoch and crashes of these, and of what is the owner's already: if the answer to a claim was lost, it
-- is asked again, and what was taken then must be known, since the epochs of all that it owns are the fence of its
-- writes.
WITH taken AS (
    UPDATE outbox_shards s
    SET owner = $1,
        epoch = s.epoch + 1,
        crashes = least(s.crashes + coalesce(free.owner <> $1, false)::integer, 1000),
        lease_until = clock_timestamp() + make_interval(secs => $2)
    FROM (
        SELECT shard, owner FROM outbox_shards
        WHERE lease_until < clock_timestamp()
        ORDER BY shard
        LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) free
    WHERE s.shard = free.shard
    RETURNING s.shard, s.epoch, s.crashes
)
SELECT shard, epoch, crashes FROM taken
UNION ALL
SELECT s.shard, s.epoch, s.crashes
FROM outbox_shards s
WHERE s.owner = $1
  AND s.lease_until >= clock_timestamp()
  AND s.shard NOT IN (SELECT t.shard FROM taken t)
