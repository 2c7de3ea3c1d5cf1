-- The parked events of the keys of some numbers ($2), without payloads, in their order; $3 is the reason of one that
-- only waits. At most 1,000 events of a partition are ever parked.
SELECT p.number, p.partition, p.key, p.seq, p.stream_seq, p.subject, coalesce(p.reason, $3), p.wanted,
       extract(epoch FROM p.parked_at)::float8, p.refusals, extract(epoch FROM p.refused_at)::float8
FROM projection.parked p
WHERE p.name = $1 AND p.key IN (SELECT w.key FROM projection.parked w WHERE w.name = $1 AND w.number = ANY ($2::bigint[]))
ORDER BY p.number
