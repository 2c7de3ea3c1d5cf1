-- Events to be replayed with a seq above $9 and up to $10, in the order of seq, at most $12: delivered ones, or where
-- $11 is true discarded ones; by the filters $1 to $8 (see cli_list_pending; the times are those of the delivery, or
-- of the death).
-- Index scan of the primary key inside the range, which the caller keeps small.
SELECT e.seq,
       e.id::text,
       e.topic,
       e.key,
       convert_to(e.payload::text, 'UTF8'),
       e.headers::text,
       date_part('epoch', e.created_at),
       e.attempts,
       false
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND (e.delivered_at IS NULL) = $11
  AND (e.discarded_at IS NOT NULL OR NOT $11)
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR coalesce(e.delivered_at, e.dead_at) >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR coalesce(e.delivered_at, e.dead_at) < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
ORDER BY e.seq
LIMIT $12
