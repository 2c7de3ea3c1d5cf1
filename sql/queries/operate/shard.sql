-- The shard of the event with key $1 and seq $2. One count of the 64 shards.
SELECT outbox_shard($1::text, $2::bigint, (SELECT count(*) FROM outbox_shards))
