-- Lower the watermark of the shards ($1) in their epochs ($2) to $3 (seq): the sequence of the outbox was set back, so
-- rows below the old watermark may be pending.
-- If the table was restored without its companions, what was pending in the copy has been stored above the floors that
-- they still have. It was stored after the copy was made: above the newest marks that the copy has, but for marks that were
-- under way, of which there are never 100,000. So the floors are lowered to that, and the tails above are searched.
-- One pass over the newest 50,000 delivered rows, once for each time that this happens.
WITH newest AS (
    SELECT e.stream, max(e.stream_seq) AS stream_seq
    FROM (SELECT stream, stream_seq FROM outbox_events
          WHERE delivered_at IS NOT NULL
          ORDER BY seq DESC
          LIMIT 50000) AS e
    GROUP BY e.stream
), floors AS (
    UPDATE outbox_streams o
    SET floor = least(o.floor, greatest(coalesce((SELECT n.stream_seq FROM newest n WHERE n.stream = o.stream), 0) - 100000, 0))
    FROM unnest($1::integer[]) AS held (shard)
    WHERE o.shard = held.shard
)
UPDATE outbox_shards s
SET watermark = least(s.watermark, $3)
FROM unnest($1::integer[], $2::bigint[]) AS held (shard, epoch)
WHERE s.shard = held.shard
  AND s.epoch = held.epoch
