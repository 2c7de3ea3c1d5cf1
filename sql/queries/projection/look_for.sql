-- How a projection stands to the event of origin $2 and seq $3: how many partitions it has, whether the event is parked
-- and why, whether its bit is set, whether it was given up, and whether each partition has settled everything up to the seq. One statement, so one
-- moment. What was settled without an origin counts for every origin; an empty $2 stands for any origin. By primary key, a row or two for each partition.
SELECT count(DISTINCT s.partition), coalesce(bool_or(p.number IS NOT NULL), false), max(p.reason),
       coalesce(bool_or(get_bit(a.bits, ($3::bigint % 8192)::integer) = 1), false),
       coalesce(bool_or(get_bit(a.skipped, ($3::bigint % 8192)::integer) = 1), false),
       coalesce(bool_and(coalesce($2 IN (s.complete_origin, '') AND s.complete_seq >= $3::bigint, false)), false)
FROM projection.state s
JOIN projection.generations g ON g.name = s.name AND g.generation = s.generation AND g.state = 'live'
LEFT JOIN projection.applied a
       ON (a.name, a.generation, a.partition) = (s.name, s.generation, s.partition)
      AND (a.origin IN ($2, '') OR $2 = '') AND a.chunk = $3::bigint / 8192
LEFT JOIN projection.parked p
       ON (p.name, p.generation, p.partition) = (s.name, s.generation, s.partition)
      AND (p.origin IN ($2, '') OR $2 = '') AND p.seq = $3::bigint
WHERE s.name = $1
