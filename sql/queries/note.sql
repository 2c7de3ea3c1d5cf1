-- Say on a held event ($1) why it waits ($2); no attempt is counted. Heap-only. Owner of shard $3, epoch $4.
UPDATE outbox_events
SET last_error = $2
WHERE seq = $1
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND EXISTS (SELECT FROM outbox_shards s WHERE s.shard = $3 AND s.epoch = $4)
