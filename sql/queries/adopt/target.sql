-- The outbox as a trigger with an empty search path must name it, whether a relay holds any of its shards now, and what
-- this login may do there: insert as a producer does, make the trigger's function, and write a line of the audit. Whether its
-- inserts ring and transactions can be prepared here: one that has rung cannot.
SELECT n.nspname, c.relname, EXISTS (SELECT FROM outbox_shards WHERE lease_until > clock_timestamp()),
       current_setting('max_prepared_transactions')::int > 0 AND EXISTS (
           SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'outbox_bell' AND t.tgenabled <> 'D'),
       current_user::text,
       has_column_privilege(c.oid, 'id', 'INSERT') AND has_column_privilege(c.oid, 'topic', 'INSERT')
       AND has_column_privilege(c.oid, 'key', 'INSERT') AND has_column_privilege(c.oid, 'payload', 'INSERT')
       AND has_column_privilege(c.oid, 'headers', 'INSERT') AND has_column_privilege(c.oid, 'created_at', 'INSERT')
       AND has_column_privilege(c.oid, 'id', 'SELECT'),
       has_schema_privilege(n.oid, 'CREATE'),
       has_table_privilege('outbox_audit', 'INSERT') AND has_column_privilege('outbox_audit', 'ended_at', 'UPDATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass('outbox_events')
