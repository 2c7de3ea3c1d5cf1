-- Delivered events with a seq above $1 and up to $2, of stream $3 or of all if it is null, stored above sequence $4,
-- of our shards ($5 of $6; null: all):
-- what is compared with the stream; not a row that was marked by hand and names none. Index scan of the primary key inside the range, which the caller keeps small.
SELECT e.seq, e.id::text, e.stream_seq, date_part('epoch', e.delivered_at), e.topic, e.key, e.stream
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NOT NULL
  AND e.stream IS NOT NULL
  AND e.stream_seq > $4
-- include: ours($5, $6)
  AND ($3::text IS NULL OR e.stream = $3::text)
ORDER BY e.seq
