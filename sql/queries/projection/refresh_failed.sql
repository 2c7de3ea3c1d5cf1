-- Writes down why a view could not be refreshed, and when it may be tried again: after a second, then twice as long, up to
-- 5 min, and never sooner than the failed one has taken ($5, in seconds). By primary key.
-- Waits for no other runner: one that refreshes it meanwhile knows better.
UPDATE projection.refreshes
SET failures = failures + 1, error = $4, every_s = $6,
    retry_at = clock_timestamp() + make_interval(secs => greatest($5, least(300, 2 ^ least(failures, 10))))
WHERE (name, generation, view) IN (
    SELECT name, generation, view FROM projection.refreshes
    WHERE name = $1 AND generation = $2 AND view = $3 FOR UPDATE SKIP LOCKED
)
