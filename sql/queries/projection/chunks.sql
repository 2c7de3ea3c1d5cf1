-- Bits of some chunks, by primary key. One or two rows for each batch, and those that were not read before only.
SELECT origin, chunk, bits, newest FROM projection.applied
WHERE name = $1 AND generation = $2 AND partition = $3
  AND (origin, chunk) IN (SELECT * FROM unnest($4::text[], $5::bigint[]))
