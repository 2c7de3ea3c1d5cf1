-- Where the delivered events with the message ids $1 were stored, and when they were marked.
-- One probe of the unique index on id each.
SELECT e.id::text, e.stream, e.stream_seq, date_part('epoch', e.delivered_at)
FROM outbox_events e
WHERE e.id = ANY ($1::uuid[])
  AND e.delivered_at IS NOT NULL
