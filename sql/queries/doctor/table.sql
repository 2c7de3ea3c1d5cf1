-- How the table is made: options, triggers, indexes and sequence, from catalogues that everybody may read.
SELECT c.relpersistence::text,
       coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100),
       coalesce((SELECT option_value::bool FROM pg_options_to_table(c.reloptions)
                 WHERE option_name = 'autovacuum_enabled'), true),
       (SELECT t.tgenabled::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'outbox_bell'),
       (SELECT coalesce(array_agg(i.indexrelid::regclass::text ORDER BY 1), '{}')
        FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid
          AND a.attname IN ('delivered_at', 'stream', 'stream_seq', 'attempts', 'last_error')),
       s.seqcache,
       s.seqincrement,
       s.seqcycle,
       EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = c.oid),
       coalesce(u.n_live_tup, 0),
       coalesce(u.n_dead_tup, 0),
       coalesce(u.n_tup_upd, 0),
       coalesce(u.n_tup_hot_upd, 0),
       extract(epoch FROM greatest(u.last_vacuum, u.last_autovacuum))::float8,
       pg_table_size(c.oid)
FROM pg_class c
LEFT JOIN pg_sequence s ON s.seqrelid = pg_get_serial_sequence('outbox_events', 'seq')::regclass
LEFT JOIN pg_stat_user_tables u ON u.relid = c.oid
WHERE c.oid = 'outbox_events'::regclass
