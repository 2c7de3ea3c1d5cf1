-- Parked events of a projection, without payloads, the first 1,000; $3 is the reason of one that only waits.
SELECT number, partition, key, seq, stream_seq, subject, coalesce(reason, $3), wanted,
       extract(epoch FROM parked_at)::float8, refusals, extract(epoch FROM refused_at)::float8
FROM projection.parked WHERE name = $1 AND (key = $2 OR $2 IS NULL) ORDER BY number LIMIT 1000
