-- How many events with a seq above $1 and up to $2 were delivered in the last $3 seconds.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT count(*)
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at >= clock_timestamp() - make_interval(secs => $3)
