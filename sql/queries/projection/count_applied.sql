-- Corrects how many events were applied, in the transaction of projection.move: fewer because some were refused, or more
-- because parked ones were applied after all. By primary key; only for such a batch.
UPDATE projection.state SET applied = applied + $4 WHERE name = $1 AND generation = $2 AND partition = $3
