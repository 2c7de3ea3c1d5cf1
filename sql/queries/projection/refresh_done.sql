-- Writes down that a view was refreshed, in the transaction of the refresh: now() is its beginning, before its snapshot.
-- By primary key.
UPDATE projection.refreshes
SET refreshed_at = now(), took_s = extract(epoch FROM clock_timestamp() - now())::float8, applied = $4, complete_up_to = $5,
    every_s = $6, failures = 0, error = NULL, retry_at = NULL
WHERE name = $1 AND generation = $2 AND view = $3
