-- What a foreign table is like, from the catalogue; no row if it does not exist. By the primary keys of the catalogue.
SELECT n.nspname, c.relname, c.relkind::text, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text,
       coalesce((SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL))
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')::text,
       coalesce((SELECT json_agg(a.attname)
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisprimary), '[]')::text,
       EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = c.oid),
       current_setting('server_version_num')::int / 10000, current_setting('server_encoding')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)
