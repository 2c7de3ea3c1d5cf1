-- The live generation of a projection, whether its schema is still there, and the stream that its positions are counted
-- in; at most one row, by the primary keys' prefix.
SELECT generation, version, fingerprint, partitions, to_regnamespace(quote_ident(schema)) IS NOT NULL,
       (SELECT min(s.stream) FROM projection.state s WHERE s.name = g.name AND s.generation = g.generation)
FROM projection.generations g WHERE name = $1 AND state = 'live'
