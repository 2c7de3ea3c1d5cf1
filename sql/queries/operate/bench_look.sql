-- What became of the events of a trial: those of topic $3 with a seq above $1 and up to $2. How many there are, how many
-- are delivered and dead, when the last one was delivered (Unix seconds), and the seconds from insert to mark: half of
-- them, 95 %, 99 % and all of them took no longer.
-- Index scan of the primary key inside the range.
SELECT count(*),
       count(e.delivered_at),
       count(e.dead_at) FILTER (WHERE e.delivered_at IS NULL),
       date_part('epoch', max(e.delivered_at)),
       percentile_disc(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (
           ORDER BY date_part('epoch', e.delivered_at - e.created_at))
           FILTER (WHERE e.delivered_at IS NOT NULL)
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.topic = $3
