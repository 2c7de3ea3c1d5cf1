-- What was delivered in the last $3 seconds, in slots of $4 seconds: the beginning of each (Unix seconds), how many events,
-- and the longest time from their creation to their mark. Looks at the events with a seq above $1 and up to $2 alone.
-- Index scan of the primary key inside the range, which the caller keeps small; once when somebody begins to look.
SELECT floor(date_part('epoch', e.delivered_at) / $4::float8) * $4::float8,
       count(*),
       max(date_part('epoch', e.delivered_at - e.created_at))
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at >= clock_timestamp() - make_interval(secs => $3)
  AND isfinite(e.created_at)
GROUP BY 1
ORDER BY 1
