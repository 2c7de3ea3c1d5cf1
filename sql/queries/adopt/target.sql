-- The outbox as a trigger with an empty search path must name it, and whether a relay holds any of its shards now.
SELECT n.nspname, c.relname, has_table_privilege(c.oid, 'INSERT') OR has_column_privilege(c.oid, 'payload', 'INSERT'),
       EXISTS (SELECT FROM outbox_shards WHERE lease_until > clock_timestamp())
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('outbox_events')
