-- How many parked events a request speaks of: those of a key, some by their numbers, or all that were refused.
SELECT count(*) FROM projection.parked
WHERE name = $1 AND (key = $2 OR $2 IS NULL) AND (number = ANY ($3::bigint[]) OR $3 IS NULL)
  AND (reason IS NOT NULL OR $3 IS NOT NULL)
