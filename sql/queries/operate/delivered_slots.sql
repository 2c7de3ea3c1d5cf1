-- What of the events with a seq above $1 and up to $2 was delivered since $3 (Unix seconds, the beginning of a slot), in slots
-- of $4 seconds of the clock: how many of these in the last $5 seconds, the beginning of each slot, how many, the longest time
-- from creation to mark, when the first one was created, when the last one was delivered. What tells of a refusal, or was sent
-- again, did not wait all the time from its creation: it counts, and says nothing of a delay.
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT count(*) FILTER (WHERE e.delivered_at >= statement_timestamp() - make_interval(secs => $5)),
       floor(date_part('epoch', e.delivered_at) / $4::float8) * $4::float8,
       count(*),
       max(date_part('epoch', e.delivered_at - e.created_at)) FILTER (WHERE e.last_error IS NULL AND isfinite(e.created_at)),
       min(date_part('epoch', e.created_at)) FILTER (WHERE e.last_error IS NULL AND isfinite(e.created_at)),
       max(date_part('epoch', e.delivered_at))
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at >= to_timestamp($3)
  AND e.delivered_at < statement_timestamp() + interval '10 min'
GROUP BY 2
ORDER BY 2
