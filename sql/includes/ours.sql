-- ours(shards, shard_count): the event is of our shards; if these are null, all are ours.
  AND (:shards::integer[] IS NULL OR outbox_shard(e.key, e.seq, :shard_count) = ANY (:shards::integer[]))
