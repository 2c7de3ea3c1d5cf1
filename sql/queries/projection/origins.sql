-- The histories of the outbox that a projection has settled events of, or heard of by the watermark. Jumps from one origin to the
-- next along the primary key's prefix: a row or two for each origin and partition, whatever the number of chunks.
WITH RECURSIVE found AS (
    SELECT s.generation, s.partition, (
        SELECT min(a.origin) FROM projection.applied a
        WHERE (a.name, a.generation, a.partition) = (s.name, s.generation, s.partition) AND a.origin > ''
    ) AS origin
    FROM projection.state s WHERE s.name = $1
    UNION ALL
    SELECT f.generation, f.partition, (
        SELECT min(a.origin) FROM projection.applied a
        WHERE (a.name, a.generation, a.partition) = ($1, f.generation, f.partition) AND a.origin > f.origin
    )
    FROM found f WHERE f.origin IS NOT NULL
)
SELECT origin FROM found WHERE origin IS NOT NULL
UNION
SELECT complete_origin FROM projection.state WHERE name = $1 AND complete_origin > ''
ORDER BY 1
