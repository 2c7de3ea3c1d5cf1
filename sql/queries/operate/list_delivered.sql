-- Delivered events with a seq above $9 and up to $10, newest first, at most $11, by the filters $1 to $8.
-- Backward index scan of the primary key inside the range: its cost follows the range and the limit.
SELECT e.seq, e.id::text, e.topic, e.key, 'delivered',
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, NULL::float8, NULL::float8, e.last_error
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND e.delivered_at IS NOT NULL
-- include: filters(e.delivered_at)
ORDER BY e.seq DESC
LIMIT $11
