-- How many shards there are, whether they are numbered from 0 on without a hole, and by how many seconds the furthest lease
-- and the furthest time of a watermark lie ahead of the clock (null: none does). Reads the 64 shards and the members.
SELECT (SELECT count(*) FROM outbox_shards),
       (SELECT coalesce(max(shard) + 1 = count(*), false) FROM outbox_shards),
       (SELECT date_part('epoch', max(l.lease_until) - clock_timestamp())
        FROM (SELECT lease_until FROM outbox_shards UNION ALL SELECT lease_until FROM outbox_members) AS l
        WHERE isfinite(l.lease_until) AND l.lease_until > clock_timestamp()),
       (SELECT date_part('epoch', max(watermark_at) - clock_timestamp())
        FROM outbox_shards
        WHERE isfinite(watermark_at) AND watermark_at > clock_timestamp())
