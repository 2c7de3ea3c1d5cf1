-- Takes another position because the stream was found to be another one, or set back. Fenced like every move.
UPDATE projection.state
SET stream_created = $6, position = $7, position_time_ns = $8, status = 'running', error = NULL
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4 AND position = $5 AND NOT paused
RETURNING position
