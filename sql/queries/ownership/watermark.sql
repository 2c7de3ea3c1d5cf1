-- The watermark of the outbox: the least of all shards. Time as Unix seconds; null while any shard does not know it.
-- One scan of the 64 shards.
SELECT min(watermark), CASE WHEN count(watermark_at) = count(*) THEN date_part('epoch', min(watermark_at)) END
FROM outbox_shards
