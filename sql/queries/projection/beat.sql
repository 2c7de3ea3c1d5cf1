-- Keeps a lease while there is nothing to apply, and says what the projection waits for. No row if it is lost.
-- By primary key; at most once a second for each partition.
UPDATE projection.state
SET lease_until = clock_timestamp() + make_interval(secs => $5), status = $6, error = $7
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4 AND NOT paused AND status <> 'stopped'
RETURNING EXISTS (
    SELECT FROM projection.parked p
    WHERE p.name = $1 AND p.generation = $2 AND p.partition = $3 AND p.wanted IS NOT NULL
)
