-- Dead letters by topic and by the first words of their reason (as in cli_dead), the most frequent first, by the
-- filters $1 to $8 (see cli_list_dead); at most $9 lines. With the first and the last time of death of each.
-- Partial index on dead_at: its cost follows the number of dead letters.
SELECT e.topic,
       left(regexp_replace(regexp_replace(coalesce(e.last_error, 'no reason given'), ': [''"].*', ''),
                           '\d+(?!\d*\))', 'N', 'g'), 100),
       count(*),
       date_part('epoch', min(e.dead_at)),
       date_part('epoch', max(e.dead_at))
FROM outbox_events e
WHERE e.dead_at IS NOT NULL
  AND e.discarded_at IS NULL
  AND e.delivered_at IS NULL
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR e.dead_at >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR e.dead_at < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
LIMIT $9
