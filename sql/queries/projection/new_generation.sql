-- Writes down a generation whose tables are made in the same transaction. Once for each generation.
INSERT INTO projection.generations (name, generation, version, fingerprint, schema, partitions)
VALUES ($1, $2, $3, $4, $5, $6)
