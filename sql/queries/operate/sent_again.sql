-- What streams had lost and was given back to be sent again, among the events with a seq above $1 and up to $2 that wait for that
-- still, or were delivered since $3 (Unix seconds); by the stream: how many, how many wait still, how many stand behind a newer
-- event of their key, how many keys these have, one of them, and when the first was delivered (Unix seconds).
-- Index scan of the primary key inside the range, which the caller keeps small; a second one only if anything was lost.
WITH lost AS MATERIALIZED (
    SELECT e.seq, e.key, e.stream_seq, e.delivered_at,
           substring(e.last_error FROM '^stream (.*) lost it at sequence [0-9]+: sent again$') AS lost_by
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.dead_at IS NULL
      AND e.last_error LIKE 'stream % lost it at sequence %: sent again'
      AND (e.delivered_at IS NULL OR e.delivered_at >= to_timestamp($3))
), placed AS (
    SELECT e.seq,
           min(e.stream_seq) OVER (
               PARTITION BY e.key, e.stream ORDER BY e.seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
           ) AS newer_at
    FROM outbox_events e
    WHERE e.seq > $1
      AND e.seq <= $2
      AND e.delivered_at IS NOT NULL
      AND e.key IN (SELECT l.key FROM lost l WHERE l.key IS NOT NULL)
)
SELECT l.lost_by,
       count(*),
       count(*) FILTER (WHERE l.delivered_at IS NULL),
       count(*) FILTER (WHERE p.newer_at < l.stream_seq),
       count(DISTINCT l.key) FILTER (WHERE p.newer_at < l.stream_seq),
       min(l.key COLLATE "C") FILTER (WHERE p.newer_at < l.stream_seq),
       date_part('epoch', min(l.delivered_at))
FROM lost l
LEFT JOIN placed p ON p.seq = l.seq AND l.delivered_at IS NOT NULL
WHERE l.lost_by IS NOT NULL
GROUP BY l.lost_by
ORDER BY l.lost_by
