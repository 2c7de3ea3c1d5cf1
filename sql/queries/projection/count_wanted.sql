-- How many parked events a request speaks of: those of a key, one by its number, or all that were refused.
SELECT count(*) FROM projection.parked
WHERE name = $1 AND (key = $2 OR $2 IS NULL) AND (number = $3 OR $3 IS NULL) AND (reason IS NOT NULL OR $3 IS NOT NULL)
