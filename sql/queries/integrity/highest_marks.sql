-- The highest sequence of each stream among the events delivered with a seq above $1 and up to $2, and the event there;
-- without what went to an earlier stream of the name, as the owner of its shard knows;
-- of our shards ($3 of $4; null: all).
-- Index scan of the primary key inside the range, which the caller keeps small; 0.3 us a row.
SELECT DISTINCT ON (e.stream) e.stream, e.stream_seq, e.id::text
FROM outbox_events e
LEFT JOIN outbox_streams o ON o.shard = outbox_shard(e.key, e.seq, $4) AND o.stream = e.stream
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at > coalesce(o.begun_at, '-infinity')
  AND e.stream_seq IS NOT NULL
-- include: ours($3, $4)
ORDER BY e.stream, e.stream_seq DESC
