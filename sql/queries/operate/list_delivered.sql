-- Delivered events with a seq above $9 and up to $10, newest first, at most $11, by the filters $1 to $8 (see
-- cli_list_pending; the times are those of the delivery).
-- Backward index scan of the primary key inside the range: its cost follows the range and the limit.
SELECT e.seq, e.id::text, e.topic, e.key, 'delivered',
       date_part('epoch', e.created_at), date_part('epoch', e.delivered_at), e.stream, e.stream_seq,
       e.attempts, NULL::float8, NULL::float8, e.last_error
FROM outbox_events e
WHERE e.seq > $9
  AND e.seq <= $10
  AND e.delivered_at IS NOT NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.delivered_at >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR e.delivered_at < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
ORDER BY e.seq DESC
LIMIT $11
