-- What every partition of every projection, or of one, says of itself. As many rows as there are partitions.
SELECT s.name, s.generation, s.partition, s.stream, s.position, s.applied, s.repeats,
       (SELECT count(*) FROM projection.parked p
        WHERE p.name = s.name AND p.generation = s.generation AND p.partition = s.partition) AS parked,
       CASE WHEN s.paused THEN 'paused'
            WHEN s.status = 'running' AND (s.owner IS NULL OR s.lease_until < clock_timestamp()) THEN 'idle'
            ELSE s.status END AS status,
       s.error, s.gap_last, CASE WHEN s.lease_until > clock_timestamp() THEN s.owner END AS owner,
       extract(epoch FROM s.updated_at)::float8 AS updated_at, s.complete_seq,
       extract(epoch FROM s.complete_up_to)::float8 AS complete_up_to, s.crashes
FROM projection.state s
WHERE s.name = $1 OR $1 IS NULL
ORDER BY s.name, s.generation, s.partition
