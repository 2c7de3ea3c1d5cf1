-- An event was refused again; one that only waited before is refused for the first time. By primary key.
UPDATE projection.parked
SET reason = $2, wanted = NULL, refusals = refusals + 1, refused_at = clock_timestamp()
WHERE number = $1
