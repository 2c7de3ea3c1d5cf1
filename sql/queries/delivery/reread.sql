-- Rows that have become visible inside the gaps ($1 and $2: first and last seq of each), at most $3,
-- of our shards ($4 of $5; null: all).
-- One probe of the primary key a gap; a gap that is still empty costs about 3 us.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       convert_to(e.payload::text, 'UTF8'),
       e.headers::text,
       date_part('epoch', e.created_at),
       e.attempts,
       e.retry_at > now()
FROM unnest($1::bigint[], $2::bigint[]) AS gap (lo, hi)
CROSS JOIN LATERAL (
    SELECT * FROM outbox_events o
    WHERE o.seq BETWEEN gap.lo AND gap.hi AND o.delivered_at IS NULL AND o.dead_at IS NULL
      AND ($4::integer[] IS NULL OR outbox_shard(o.key, o.seq, $5) = ANY ($4::integer[]))
    ORDER BY o.seq
    LIMIT $3
) e
ORDER BY e.seq
LIMIT $3
