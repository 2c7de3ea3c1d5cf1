-- Which of the message ids $1 are pending events of our shards ($2 of $3; null: all): their seq and id. One probe of the unique index on id each.
SELECT e.seq, e.id::text
FROM outbox_events e
WHERE e.id = ANY ($1::uuid[])
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: ours($2, $3)
