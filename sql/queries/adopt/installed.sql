-- The adoptions of this database: our triggers say themselves what they are, in their comment. A partition has a clone
-- of its parent's trigger, which is not listed. The function comes with the columns that its table has now, and whether
-- it sets how values are written as text: PostgreSQL
-- lets a column be dropped that a function reads, and made again as a virtual one. And with what keeps rows from it. As many rows as there are triggers with a comment.
SELECT n.nspname, c.relname, t.tgenabled IN ('O', 'A'), d.description, p.prosrc,
       coalesce((SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'),
-- include: uncopied(c.oid, t.tgfoid, (t.tgenabled = 'A'))
       , EXISTS (SELECT FROM unnest(p.proconfig) AS one WHERE one LIKE 'bytea\_output=%')
FROM pg_trigger t
JOIN pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_trigger'::regclass
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgparentid = 0 AND d.description LIKE '{"adopted_by": "outbox-relay"%'
ORDER BY n.nspname, c.relname, t.tgname
