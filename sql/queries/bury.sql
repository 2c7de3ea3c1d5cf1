-- Make an event ($1) a dead letter: its attempts ($2) and the reason ($3); owner of shards $4, epochs $5.
UPDATE outbox_events
SET dead_at = clock_timestamp(),
    retry_at = NULL,
    attempts = $2,
    last_error = $3
WHERE seq = $1
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest($4::integer[], $5::bigint[]) AS held (shard, epoch)
      WHERE NOT EXISTS (SELECT FROM outbox_shards s WHERE s.shard = held.shard AND s.epoch = held.epoch)
  )
