-- Events whose retry is due, or that a person has given back, the longest due first; at most $1.
-- Index scan of the partial index on retry_at: nothing to read where nothing is retried.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       convert_to(e.payload::text, 'UTF8'),
       e.headers::text,
       date_part('epoch', e.created_at),
       e.attempts,
       e.retry_at IS NOT NULL
FROM outbox_events e
WHERE e.retry_at <= clock_timestamp()
  AND e.retry_at IS NOT NULL
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
ORDER BY e.retry_at, e.seq
LIMIT $1
