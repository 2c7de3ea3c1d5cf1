-- The next visible rows above the cursor ($1), up to $2, at most $3, in the order of seq: whole where they are pending
-- rows of our shards ($4 of $5), else with nothing but their seq.
-- For a replica among others: what others send or have sent is no gap, and one statement sees both at one moment.
-- Index scan of the primary key from the cursor on; 0.7 us for a row that is not ours.
SELECT e.seq,
       CASE WHEN e.ours THEN e.id::text END,
       CASE WHEN e.ours THEN e.topic END,
       CASE WHEN e.ours THEN e.key END,
       CASE WHEN e.ours THEN convert_to(e.payload::text, 'UTF8') END,
       CASE WHEN e.ours THEN e.headers::text END,
       CASE WHEN e.ours THEN date_part('epoch', e.created_at) END,
       e.attempts,
       e.retry_at > now()
FROM (
    SELECT *,
           delivered_at IS NULL AND dead_at IS NULL AND outbox_shard(key, seq, $5) = ANY ($4::integer[]) AS ours
    FROM outbox_events
    WHERE seq > $1
      AND seq <= $2
    ORDER BY seq
    LIMIT $3
) e
ORDER BY e.seq
