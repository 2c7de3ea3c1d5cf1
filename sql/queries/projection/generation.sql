-- The live generation of a projection; at most one row, by the primary key's prefix.
SELECT generation, version, fingerprint, partitions FROM projection.generations WHERE name = $1 AND state = 'live'
