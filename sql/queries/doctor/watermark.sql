-- The lowest watermark: everything up to it is settled.
SELECT coalesce(min(watermark), 0) FROM outbox_shards
