-- What the relay that publishes the watermark has to know, of all shards, as of one moment: the watermark (the least of all; its
-- time as Unix seconds, null while any shard does not know it), up to ten streams with a loss that waits for the operator, and whether
-- events up to the watermark are pending again, as what a stream has lost and what an operator has given back. The last is not
-- looked for, and null, if the watermark is still $1 (seq) and $2 (time).
-- One scan of the 64 shards, one of outbox_streams (a row for each stream and shard, 0.1 us each), and an index scan of the partial
-- index on retry_at up to the first of them; with both bounds the planner expects few rows even of a table that was never
-- analysed. What waits for its retry lies above the watermark: so the longest scan is over all that waits, and seldom, since the
-- watermark hardly rises meanwhile.
WITH w AS (
    SELECT min(watermark) AS seq, CASE WHEN count(watermark_at) = count(*) THEN date_part('epoch', min(watermark_at)) END AS at
    FROM outbox_shards
)
SELECT w.seq,
       w.at,
       ARRAY(SELECT DISTINCT stream FROM outbox_streams WHERE lost_at IS NOT NULL ORDER BY stream LIMIT 10),
       CASE WHEN (w.seq, w.at) IS DISTINCT FROM ($1::bigint, $2::float8) THEN EXISTS (
           SELECT FROM outbox_events e
           WHERE e.retry_at >= '-infinity'
             AND e.retry_at <= 'infinity'
             AND e.seq <= w.seq
             AND e.delivered_at IS NULL
             AND e.dead_at IS NULL
       ) END
FROM w
