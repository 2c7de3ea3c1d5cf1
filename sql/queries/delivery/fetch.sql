-- The next pending rows of our shards ($4 of $5; null: all) above the cursor ($1), up to $2, at most $3, in the order
-- of seq. A row of more than $6 bytes comes without payload (null): a read ends before it, and fetch_bounded.sql goes on.
-- Index scan of the primary key from the cursor on: its cost follows the rows returned (about 2 us each with
-- a payload of 256 bytes), not the size of the table. The payload is not parsed anywhere, and what is stored large is
-- not even decompressed. The LIMIT keeps the inner query apart, so that each text is made once.
SELECT r.seq,
       r.id,
       r.topic,
       r.key,
       CASE WHEN octet_length(r.payload) + coalesce(octet_length(r.headers), 0) <= $6 THEN r.payload END,
       CASE WHEN octet_length(r.headers) <= $6 THEN r.headers END,
       r.created_at,
       r.attempts,
       r.postponed,
       0
FROM (
    SELECT e.seq,
           e.id::text AS id,
           CASE WHEN octet_length(e.topic) <= 1000 THEN e.topic END AS topic,
           CASE WHEN octet_length(e.key) <= 1000 THEN e.key END AS key,
           CASE WHEN coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0) <= $6
                 AND octet_length(e.topic) <= 1000
                 AND coalesce(octet_length(e.key), 0) <= 1000
                THEN convert_to(textin(jsonb_out(e.payload)), 'UTF8') END AS payload,
           CASE WHEN pg_column_size(e.headers) <= $6 THEN e.headers::text END AS headers,
           date_part('epoch', e.created_at) AS created_at,
           e.attempts,
           e.retry_at > now() AS postponed
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
-- include: ours($4, $5)
    ORDER BY e.seq
    LIMIT $3
) r
ORDER BY r.seq
