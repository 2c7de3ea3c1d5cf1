-- filters(time): what an operator asks for, each null if it does not matter: topic ($1, regular expression), key ($2), `time`
-- since ($3) and until ($4, Unix seconds), ids ($5), first and last seq ($6, $7), text in the last error ($8).
  AND ($1::text IS NULL OR e.topic ~ $1::text)
  AND ($2::text IS NULL OR e.key = $2::text)
  AND ($3::float8 IS NULL OR :time >= to_timestamp($3::float8))
  AND ($4::float8 IS NULL OR :time < to_timestamp($4::float8))
  AND ($5::text[] IS NULL OR e.id = ANY ($5::text[]::uuid[]))
  AND ($6::bigint IS NULL OR e.seq >= $6::bigint)
  AND ($7::bigint IS NULL OR e.seq <= $7::bigint)
  AND ($8::text IS NULL OR strpos(lower(e.last_error), lower($8::text)) > 0)
