-- Begin another history of seqs behind the last one that was drawn. Twice without a draw in between replaces the first.
-- If the sequence was set back, origins above it are of rows that are gone: the same seqs are now drawn in this one.
WITH drawn AS (
    SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox_events', 'seq')::regclass), 0) AS above
), gone AS (
    DELETE FROM outbox_origin o USING drawn d WHERE o.above > d.above
)
INSERT INTO outbox_origin (above, origin)
SELECT above, substr(md5(gen_random_uuid()::text), 1, 8) FROM drawn
ON CONFLICT (above) DO UPDATE SET origin = excluded.origin, since = now()
RETURNING origin, above
