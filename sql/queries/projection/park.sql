-- Parks an event. It may be parked already only if the same message came twice, which its bit rules out unless it has
-- no seq; then the first row stays.
INSERT INTO projection.parked (name, generation, partition, stream_created, stream_seq, time_ns, subject, key, origin, seq,
                               headers, payload, reason, refusals, refused_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text,
        ($13::text IS NOT NULL)::integer, CASE WHEN $13::text IS NOT NULL THEN now() END)
ON CONFLICT (name, generation, partition, stream_created, stream_seq) DO NOTHING
