-- Events in any state with a seq above $9 and up to $10, newest first, at most $11, by the filters $1 to $8 (see
-- cli_list_pending).
-- Backward index scan of the primary key inside the range, or the unique index on id: its cost follows the range and
-- the limit, or the number of ids.
SELECT e.seq, e.id::text, e.topic, e.key, CASE
           WHEN e.delivered_at IS NOT NULL THEN 'delivered'
           WHEN e.discarded_at IS NOT NULL THEN 'discarded'
           WHEN e.dead_at IS NOT NULL THEN 'dead'
           WHEN e.retry_at IS NOT NULL THEN 'retry'
           ELSE 'pending'
       END,
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, date_part('epoch', e.retry_at), date_part('epoch', e.dead_at), e.last_error
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.created_at >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR e.created_at < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
ORDER BY e.seq DESC
LIMIT $11
