-- The next pending rows of our shards ($4 of $5; null: all) above $1, up to $2, at most $3: without payload and
-- headers, which may be what ends the relay.
-- Index scan of the primary key, as in fetch.sql.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       ''::bytea,
       NULL,
       0::float8,
       e.attempts,
       e.retry_at > now()
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
  AND ($4::integer[] IS NULL OR outbox_shard(e.key, e.seq, $5) = ANY ($4::integer[]))
ORDER BY e.seq
LIMIT $3
