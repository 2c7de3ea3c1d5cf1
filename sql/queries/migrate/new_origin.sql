-- Begin another history of seqs behind the last one that was drawn. Twice without a draw in between replaces the first.
INSERT INTO outbox_origin (above, origin)
SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox_events', 'seq')::regclass), 0),
       substr(md5(gen_random_uuid()::text), 1, 8)
ON CONFLICT (above) DO UPDATE SET origin = excluded.origin, since = now()
RETURNING origin, above
