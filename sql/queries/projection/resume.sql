-- Lets runners claim again what was paused, or has stopped. What made it stop is checked again.
UPDATE projection.state
SET paused = false, status = CASE status WHEN 'stopped' THEN 'new' ELSE status END, error = NULL
WHERE name = $1
