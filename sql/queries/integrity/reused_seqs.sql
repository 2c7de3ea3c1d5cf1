-- Of the events that a stream holds, with seqs $1 and ids $2, those whose seq belongs to another row now, and those
-- without a row whose seq the sequence has yet to draw: seq, id, and whether it was drawn already. If this role may not
-- see the sequence, only the former. A row that was stored was visible before, so this later snapshot lacks it only if it
-- was deleted or lost. Asked once for each page of a tail that is searched. Primary key look-ups.
SELECT m.seq, m.id::text, e.seq IS NOT NULL
FROM unnest($1::bigint[], $2::uuid[]) AS m (seq, id)
CROSS JOIN (
    SELECT CASE WHEN has_sequence_privilege(q.oid, 'SELECT, USAGE') THEN coalesce(pg_sequence_last_value(q.oid), 0) END
    FROM (SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass::oid) AS q (oid)
) AS sequence (drawn)
LEFT JOIN outbox_events e ON e.seq = m.seq AND e.seq = ANY ($1::bigint[])
WHERE e.id <> m.id
   OR (e.seq IS NULL AND m.seq > sequence.drawn)
