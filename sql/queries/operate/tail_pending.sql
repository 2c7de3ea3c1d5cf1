-- The seqs above $1 and up to $2 of events that are neither delivered nor dead, and of all that wait for a retry or were
-- given back; by the filters $3 (regular expression of the topic) and $4 (key), at most $5.
-- Index scan of the primary key inside the range, and of the partial index on retry_at.
SELECT e.seq
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND ($3::text IS NULL OR e.topic ~ $3::text)
  AND ($4::text IS NULL OR e.key = $4::text)
UNION
SELECT r.seq
FROM outbox_events r
WHERE r.retry_at >= '-infinity'
  AND r.retry_at <= 'infinity'
  AND ($3::text IS NULL OR r.topic ~ $3::text)
  AND ($4::text IS NULL OR r.key = $4::text)
LIMIT $5
