-- Lower the watermark of the shards ($1) in their epochs ($2) to $3 (seq): the sequence of the outbox was set back, so
-- rows below the old watermark may be pending. One statement, once for each time that this happens.
UPDATE outbox_shards s
SET watermark = least(s.watermark, $3)
FROM unnest($1::integer[], $2::bigint[]) AS held (shard, epoch)
WHERE s.shard = held.shard
  AND s.epoch = held.epoch
