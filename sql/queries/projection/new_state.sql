-- One row of state for each partition of a new generation.
INSERT INTO projection.state (name, generation, partition, stream)
SELECT $1, $2, partition, $3 FROM generate_series(0, $4::integer - 1) partition
