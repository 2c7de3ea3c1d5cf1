-- Delivered events with a seq above $1 and up to $2, newest first, at most $6. Topic by regular expression ($3), key
-- ($4), delivered since ($5, Unix seconds): each may be null.
-- Backward index scan of the primary key inside the range: its cost follows the range and the limit.
SELECT e.seq, e.id::text, e.topic, e.key, 'delivered',
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, NULL::float8, NULL::float8, e.last_error
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NOT NULL
  AND ($3::text IS NULL OR e.topic ~ $3::text)
  AND ($4::text IS NULL OR e.key = $4::text)
  AND ($5::float8 IS NULL OR e.delivered_at >= to_timestamp($5::float8))
ORDER BY e.seq DESC
LIMIT $6
