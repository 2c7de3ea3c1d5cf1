-- The seqs above $1 and up to $2 that are not visible: in transactions that are open, or rolled back.
-- An anti join with the primary key inside the range, which the caller keeps small: 1 us a seq.
SELECT missing.seq
FROM generate_series($1::bigint + 1, $2::bigint) AS missing (seq)
WHERE NOT EXISTS (SELECT FROM outbox_events e WHERE e.seq = missing.seq AND e.seq > $1 AND e.seq <= $2)
