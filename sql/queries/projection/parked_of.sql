-- The parked events of a key ($2), of the keys of some numbers ($3), or all of a projection, without payloads, in their
-- order; $4 is the reason of one that only waits. At most 1,000 events of a partition are ever parked.
SELECT p.number, p.partition, p.key, p.seq, p.stream_seq, p.subject, coalesce(p.reason, $4), p.wanted,
       extract(epoch FROM p.parked_at)::float8, p.refusals, extract(epoch FROM p.refused_at)::float8
FROM projection.parked p
WHERE p.name = $1 AND (p.key = $2::text OR $2::text IS NULL)
  AND ($3::bigint[] IS NULL OR p.number = ANY ($3::bigint[])
       OR p.key IN (SELECT w.key FROM projection.parked w WHERE w.name = $1 AND w.number = ANY ($3::bigint[])))
ORDER BY p.number
