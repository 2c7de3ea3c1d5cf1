-- The next visible rows above the cursor ($1), up to $2, at most $3, in the order of seq: whole if they are pending
-- rows of our shards ($4 of $5), else with nothing but their seq (the id is null). Ours share $6 bytes, and a row of
-- more than $7 comes without payload, as do all if $8 is false.
-- For a replica among others: what others send or have sent is no gap, and one statement sees both at one moment.
-- Index scan of the primary key from the cursor on; 0.7 us for a row that is not ours.
WITH candidates AS (
    SELECT e.seq,
           CASE WHEN o.ours THEN e.id END AS id,
           CASE WHEN o.ours THEN e.topic END AS topic,
           CASE WHEN o.ours THEN e.key END AS key,
           e.payload,
           e.headers,
           e.created_at,
           e.attempts,
           e.retry_at,
           o.ours,
           CASE WHEN o.ours THEN (coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0))::bigint
                ELSE 0 END AS stored
    FROM outbox_events e,
         LATERAL (SELECT e.delivered_at IS NULL AND e.dead_at IS NULL
                         AND outbox_shard(e.key, e.seq, $5) = ANY ($4::integer[]) AS ours) o
    WHERE e.seq > $1
      AND e.seq <= $2
    ORDER BY e.seq
    LIMIT $3
)
SELECT
-- include: bounded_columns($8::boolean)
       CASE WHEN t.unread THEN t.bytes ELSE 0 END
FROM
-- include: bounded_rows($6, $7, $8::boolean, seq)
ORDER BY t.seq
