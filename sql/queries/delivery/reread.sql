-- Rows that have become visible inside the gaps ($1 and $2: first and last seq of each), at most $3, in the order of
-- seq, of our shards ($4 of $5; null: all). They share $6 bytes, and a row of more than $7 comes without payload, as do all
-- if $8 is false.
-- One probe of the primary key a gap; a gap that is still empty costs about 3 us.
WITH candidates AS (
    SELECT
-- include: bounded_candidate
    FROM unnest($1::bigint[], $2::bigint[]) AS gap (lo, hi)
    CROSS JOIN LATERAL (
        SELECT * FROM outbox_events e
        WHERE e.seq BETWEEN gap.lo AND gap.hi AND e.delivered_at IS NULL AND e.dead_at IS NULL
-- include: ours($4, $5)
        ORDER BY e.seq
        LIMIT $3
    ) e
    ORDER BY e.seq
    LIMIT $3
)
SELECT
-- include: bounded_columns($8::boolean)
       CASE WHEN t.unread THEN t.bytes ELSE 0 END
FROM
-- include: bounded_rows($6, $7, $8::boolean, seq)
ORDER BY t.seq
