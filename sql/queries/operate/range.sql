-- Where the pending events begin and the newest one ends: the watermark, and the newest seq. Two rows read.
SELECT coalesce((SELECT min(watermark) FROM outbox_shards), 0),
       coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0)
