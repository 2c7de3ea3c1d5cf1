-- Delete the delivered events of a trial: those of topic $3 with a seq above $1 and up to $2; below the watermark alone, as
-- in prune_delivered.
-- Index scan of the primary key inside the range, which the caller keeps small.
DELETE FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.topic = $3
  AND e.delivered_at IS NOT NULL
  AND e.seq < (SELECT min(s.watermark) FROM outbox_shards s)
  AND NOT EXISTS (SELECT FROM outbox_streams o WHERE o.lost_at IS NOT NULL)
