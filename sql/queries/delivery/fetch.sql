-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq.
-- Index scan of the primary key from the cursor on: its cost follows the rows returned (about 2 us each with
-- a payload of 256 bytes), not the size of the table. The payload is not parsed anywhere.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       convert_to(e.payload::text, 'UTF8'),
       e.headers::text,
       date_part('epoch', e.created_at),
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
