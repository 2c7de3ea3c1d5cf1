-- The next pending rows of our shards ($4 of $5; null: all) above $1, up to $2, at most $3: without payload and
-- headers, which may be what ends the relay, and with the version of the row: each change gives it another one.
-- Index scan of the primary key, as in fetch.sql.
SELECT
-- include: outline_columns
     , e.xmin::text
FROM outbox_events e
WHERE e.seq > $1
  AND e.seq <= $2
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
-- include: ours($4, $5)
ORDER BY e.seq
LIMIT $3
