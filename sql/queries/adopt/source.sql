-- What a foreign table is like, from the catalogue, with the columns that a sequence fills in the order of insertion, and those that are virtual (of PostgreSQL 18); no row if it does not exist. By the primary keys of the catalogue.
SELECT n.nspname, c.relname, c.relkind::text, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text,
       EXISTS (SELECT FROM pg_roles s WHERE s.rolsuper AND pg_has_role(c.relowner, s.oid, 'MEMBER')),
       coalesce((SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL))
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')::text,
       coalesce((SELECT json_agg(a.attname)
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisprimary), '[]')::text,
       coalesce((SELECT json_agg(a.attname)
                 FROM pg_attribute a
                 LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
                 JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                     OR d.classid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                         AND d.deptype = 'i'
                 JOIN pg_sequence s ON s.seqrelid = CASE WHEN d.deptype = 'i' THEN d.objid ELSE d.refobjid END
                 WHERE a.attrelid = c.oid AND s.seqincrement > 0 AND s.seqcache = 1 AND NOT s.seqcycle), '[]')::text,
       EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = c.oid),
       current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)
