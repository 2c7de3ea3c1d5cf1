-- Say on a held event ($1) why it waits ($2); no attempt is counted. Heap-only. Owner of shards $3, epochs $4.
UPDATE outbox_events
SET last_error = $2
WHERE seq = $1
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest($3::integer[], $4::bigint[]) AS held (shard, epoch)
      WHERE NOT EXISTS (SELECT FROM outbox_shards s WHERE s.shard = held.shard AND s.epoch = held.epoch)
  )
