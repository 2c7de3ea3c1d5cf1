-- The live generation of a projection, and whether its schema is still there; at most one row, by the primary key's
-- prefix.
SELECT generation, version, fingerprint, partitions, to_regnamespace(quote_ident(schema)) IS NOT NULL
FROM projection.generations WHERE name = $1 AND state = 'live'
