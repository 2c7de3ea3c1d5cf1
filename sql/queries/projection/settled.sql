-- All bits of a projection for chunk $2, of each partition and of origins $3 (with what came without an origin). One or
-- two rows for each partition, by primary key.
SELECT a.bits FROM projection.applied a
JOIN projection.generations g ON g.name = a.name AND g.generation = a.generation AND g.state = 'live'
WHERE a.name = $1 AND a.chunk = $2 AND a.origin = ANY ($3::text[])
