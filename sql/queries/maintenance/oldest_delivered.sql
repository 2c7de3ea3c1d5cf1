-- When the oldest delivered event with a seq above $1 and up to $2 was delivered, Unix seconds; null without one.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT date_part('epoch', min(d.delivered_at))
FROM outbox_events d
WHERE d.seq > $1
  AND d.seq <= $2
  AND d.delivered_at IS NOT NULL
