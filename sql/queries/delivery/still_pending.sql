-- Of the events with seqs $1 and ids $2: how many are neither delivered nor dead, and how many of the seqs are other
-- events now. Primary key look-ups; asked only when a write changed less than it was to change.
SELECT count(*) FILTER (WHERE e.id = d.id AND e.delivered_at IS NULL AND e.dead_at IS NULL),
       count(*) FILTER (WHERE e.id <> d.id)
FROM unnest($1::bigint[], $2::uuid[]) AS d (seq, id)
JOIN outbox_events e ON e.seq = d.seq
WHERE e.seq = ANY ($1::bigint[])
