-- What is pending among the events with a seq above $1 and up to $2, in one pass: how many, the first of them, and why they
-- wait, as the relay has written it on one of each kind. The first row counts all (its reason is null); then a row for each
-- reason, at most 10: how many events have it, the first of them, the class of the failure. Counts the first $3 pending events.
-- Index scan of the primary key inside the range: 0.4 us a row; and a probe for the first event of each row.
SELECT k.events, k.last_error, k.failure_class, f.seq, f.id::text, f.topic, f.key, date_part('epoch', f.created_at), f.last_error
FROM (
    SELECT count(*) AS events, w.last_error, w.failure_class, min(w.seq) AS first_seq
    FROM (
        SELECT e.seq,
               CASE WHEN e.retry_at IS NULL THEN e.last_error END AS last_error,
               CASE WHEN e.retry_at IS NULL AND e.last_error IS NOT NULL THEN e.failure_class END AS failure_class
        FROM outbox_events e
        WHERE e.seq > $1
          AND e.seq <= $2
          AND e.delivered_at IS NULL
          AND e.dead_at IS NULL
        ORDER BY e.seq
        LIMIT $3
    ) w
    GROUP BY GROUPING SETS ((), (w.last_error, w.failure_class))
    HAVING GROUPING(w.last_error) = 1 OR w.last_error IS NOT NULL
    ORDER BY GROUPING(w.last_error) DESC, min(w.seq)
    LIMIT 11
) k
LEFT JOIN outbox_events f ON f.seq = k.first_seq
ORDER BY k.last_error IS NOT NULL, k.first_seq
