-- Asks the owner to retry or skip parked events; it does so within about a second, each key in its order. What only
-- waits behind such an event follows by itself. Without numbers what somebody has asked to skip is left to be skipped.
UPDATE projection.parked SET wanted = $4
WHERE name = $1 AND (key = $2 OR $2 IS NULL) AND (number = ANY ($3::bigint[]) OR $3 IS NULL)
  AND ($3 IS NOT NULL OR (reason IS NOT NULL AND wanted IS DISTINCT FROM 'skip'))
