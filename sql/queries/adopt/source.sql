-- What a foreign table is like, from the catalogue, with the columns that a sequence fills in the order of insertion, those that are virtual (of PostgreSQL 18),
-- whether a policy hides rows from this login, whether it is an outbox of a relay or stands beside ours, and what may keep rows from its triggers: a trigger of type 7 runs before an insert, for each row; no row if it does not exist. By the primary keys of the catalogue.
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
       current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'),
       row_security_active(c.oid),
       (SELECT count(*) = 4 FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attname IN ('delivered_at', 'stream_seq', 'dead_at', 'retry_at'))
       OR c.oid IN (to_regclass('outbox_shards'), to_regclass('outbox_audit'), to_regclass('outbox_migrations'),
                    to_regclass('outbox_streams'), to_regclass('outbox_members')),
-- include: uncopied(c.oid, 0, false)
       , coalesce((
           SELECT json_agg(json_build_array(u.kind, u.name) ORDER BY u.kind, u.name)
           FROM (
               SELECT 'before' AS kind, t.tgname::text AS name
               FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
               WHERE (t.tgrelid = c.oid OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(c.oid))) AND t.tgparentid = 0
                 AND t.tgtype & 7 = 7 AND t.tgenabled <> 'D' AND NOT t.tgisinternal AND l.lanname NOT IN ('c', 'internal')
               UNION ALL
               SELECT 'rule', w.rulename::text FROM pg_rewrite w
               WHERE w.ev_class = c.oid AND w.ev_type = '3' AND w.is_instead AND w.ev_enabled <> 'D'
           ) AS u
       ), '[]')::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)
