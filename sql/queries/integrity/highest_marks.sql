-- The highest sequence of each stream among the events delivered with a seq above $1 and up to $2, and the event there;
-- without what went to an earlier stream of the name, as the owner of its shard knows;
-- of our shards ($3 of $4; null: all).
-- Index scan of the primary key inside the range, which the caller keeps small; 0.3 us a row. Only if some stream was made
-- again is each row compared with its own, by the primary key of outbox_streams: 2 us a row, however many streams there
-- are. As a join it is planned for one row, and reads the whole of outbox_streams for each.
SELECT DISTINCT ON (e.stream) e.stream, e.stream_seq, e.id::text
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NOT NULL
  AND e.stream_seq IS NOT NULL
  AND (NOT (SELECT EXISTS (SELECT FROM outbox_streams WHERE begun_at > to_timestamp(0)))
       OR e.delivered_at > coalesce((SELECT o.begun_at
                                     FROM outbox_streams o
                                     WHERE o.shard = outbox_shard(e.key, e.seq, $4) AND o.stream = e.stream), '-infinity'))
-- include: ours($3, $4)
ORDER BY e.stream, e.stream_seq DESC
