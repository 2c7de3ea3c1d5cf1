-- How many events of key $1 with a seq above $2 and up to $5 stand before sequence $4 of stream $3, and the first of them: what is
-- newer than an event that the stream had lost, and that was sent again.
-- Index scan of the primary key inside the range, which the caller keeps small; only for such an event.
SELECT count(*), min(e.seq)
FROM outbox_events e
WHERE e.seq > $2
  AND e.seq <= $5
  AND e.key = $1
  AND e.stream = $3
  AND e.stream_seq < $4
  AND e.delivered_at IS NOT NULL
