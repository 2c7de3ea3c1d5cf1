-- Of the events with seqs $1 and ids $2 those that are neither delivered nor dead, and those whose seq is another
-- event now: the seq, and which of the two. Primary key look-ups; asked only when a write changed less than it was to
-- change.
SELECT e.seq, e.id <> d.id
FROM unnest($1::bigint[], $2::uuid[]) AS d (seq, id)
JOIN outbox_events e ON e.seq = d.seq
WHERE e.seq = ANY ($1::bigint[])
  AND (e.id <> d.id OR (e.delivered_at IS NULL AND e.dead_at IS NULL))
