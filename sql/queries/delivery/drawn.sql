-- The last seq that was drawn, 0 before the first; null if this role may not see the sequence. Asked before `holders`, when
-- seqs are missing above what the latest beat saw as drawn: only what was drawn before can belong to the transactions that
-- are found then. Reads one page.
SELECT CASE WHEN has_sequence_privilege(q.oid, 'SELECT, USAGE') THEN coalesce(pg_sequence_last_value(q.oid), 0) END
FROM (SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass::oid) AS q (oid)
