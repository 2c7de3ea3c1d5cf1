-- What is written down of a partition, for a runner that does not own it: why nobody may, and how far it is. By primary
-- key, and a count of what is parked, which is bounded; once in 5 s for each runner that waits.
SELECT s.paused, s.status, s.error, s.position,
       (SELECT count(*) FROM projection.parked p
        WHERE p.name = s.name AND p.generation = s.generation AND p.partition = s.partition) AS parked,
       extract(epoch FROM s.complete_up_to)::float8 AS complete_up_to, s.owner
FROM projection.state s
WHERE s.name = $1 AND s.generation = $2 AND s.partition = $3
