-- Where an owner of shard $1 begins: its watermark, and the newest seq that is visible now.
SELECT s.watermark, coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0)
FROM outbox_shards s
WHERE s.shard = $1
