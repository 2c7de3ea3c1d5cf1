-- The projection must not go on by itself: no runner claims it until an operator resumes it. By primary key.
UPDATE projection.state
SET status = 'stopped', error = $5, gap_last = $6, owner = NULL, lease_until = '-infinity', updated_at = now()
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4
