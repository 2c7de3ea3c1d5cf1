-- Where an owner of the shards $1 (null: all) begins: their lowest watermark, and the newest seq that is visible now.
SELECT (SELECT min(s.watermark) FROM outbox_shards s WHERE $1::integer[] IS NULL OR s.shard = ANY ($1::integer[])),
       coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0)
