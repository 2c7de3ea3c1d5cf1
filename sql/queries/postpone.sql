-- Try an event ($1) again in $2 seconds: its attempts are now $3, the last error $4; owner of shards $5, epochs $6.
UPDATE outbox_events
SET retry_at = clock_timestamp() + make_interval(secs => $2),
    attempts = $3,
    last_error = $4
WHERE seq = $1
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND NOT EXISTS (
      SELECT FROM unnest($5::integer[], $6::bigint[]) AS held (shard, epoch)
      WHERE NOT EXISTS (SELECT FROM outbox_shards s WHERE s.shard = held.shard AND s.epoch = held.epoch)
  )
