-- The first event with a seq above $1 and up to $2 that is neither delivered nor dead; no row without one.
-- Index scan of the primary key, which ends at the first hit.
SELECT e.seq, e.id::text, e.topic, e.key, date_part('epoch', e.created_at), e.last_error
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
ORDER BY e.seq
LIMIT 1
