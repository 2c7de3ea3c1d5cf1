-- The shard of the event with key $1 and seq $2; null if there is none at all. One count of the 64 shards.
SELECT outbox_shard($1::text, $2::bigint, (SELECT nullif(count(*), 0) FROM outbox_shards))
