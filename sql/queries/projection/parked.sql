-- Parked events of a projection, without payloads; at most 1,000 for each partition.
SELECT number, partition, key, seq, stream_seq, subject, coalesce(reason, 'waits behind an earlier event of its key'),
       wanted, extract(epoch FROM parked_at)::float8
FROM projection.parked WHERE name = $1 AND (key = $2 OR $2 IS NULL) ORDER BY number LIMIT 1000
