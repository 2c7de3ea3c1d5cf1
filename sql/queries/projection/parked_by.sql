-- Which projections have parked the event of seq $1 and origin $2, why, how often it was refused, and which event of its
-- key is in its way, if one is. At most a few thousand rows are ever parked; the others of its partition are at most 1,000.
SELECT p.name, p.number, coalesce(p.reason, 'waits behind an earlier event of its key'), p.refusals,
       extract(epoch FROM p.refused_at)::float8,
       (SELECT min(b.number) FROM projection.parked b
        WHERE b.name = p.name AND b.generation = p.generation AND b.partition = p.partition AND b.key = p.key
          AND b.number < p.number AND b.reason IS NOT NULL)
FROM projection.parked p WHERE p.seq = $1 AND p.origin IN ($2, '') ORDER BY p.name
