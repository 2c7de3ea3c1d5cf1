-- Gives a partition back, so that another runner need not wait for the lease. By primary key.
UPDATE projection.state SET owner = NULL, lease_until = '-infinity'
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4
