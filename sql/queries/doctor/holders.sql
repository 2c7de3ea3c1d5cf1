-- What keeps old rows alive or a gap open: prepared transactions, replication slots, and the oldest transaction of
-- those that this role may see (all with pg_read_all_stats, else its own).
SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
       (SELECT extract(epoch FROM clock_timestamp() - min(prepared))::float8
        FROM pg_prepared_xacts WHERE database = current_database()),
       (SELECT coalesce(array_agg(slot_name::text ORDER BY slot_name), '{}')
        FROM pg_replication_slots WHERE NOT active),
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float8
        FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()),
       (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND state IS NULL AND datname = current_database())
