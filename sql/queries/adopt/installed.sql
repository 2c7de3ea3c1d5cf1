-- The adoptions of this database: our triggers say themselves what they are, in their comment, and so do their functions, one of
-- which stays behind if its table or trigger is dropped. A partition has a clone of its parent's trigger, which is not listed. The
-- function comes with the columns that its table has now, and whether it sets how values are written as text: PostgreSQL
-- lets a column be dropped that a function reads, and made again as a virtual one. And with what keeps rows from it. Reads the
-- catalogue of triggers, and the comments.
SELECT n.nspname::text, c.relname::text, t.tgenabled IN ('O', 'A'),
       CASE WHEN d.description LIKE '{"adopted_by": "outbox-relay"%' THEN d.description ELSE f.description END,
       p.prosrc,
       coalesce((SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '{}')::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v'),
-- include: uncopied(c.oid, t.tgfoid, (t.tgenabled = 'A'))
       , EXISTS (SELECT FROM unnest(p.proconfig) AS one WHERE one LIKE 'bytea\_output=%'),
       t.tgname::text, format('%I.%I', s.nspname, p.proname)
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace s ON s.oid = p.pronamespace
LEFT JOIN pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_trigger'::regclass
LEFT JOIN pg_description f ON f.objoid = p.oid AND f.classoid = 'pg_proc'::regclass
WHERE t.tgparentid = 0
  AND (d.description LIKE '{"adopted_by": "outbox-relay"%' OR f.description LIKE '{"adopted_by": "outbox-relay"%')
UNION ALL
SELECT NULL, NULL, false, f.description, p.prosrc, '{}', '{}'::text[], '[]', true, NULL, format('%I.%I', s.nspname, p.proname)
FROM pg_description f
JOIN pg_proc p ON p.oid = f.objoid JOIN pg_namespace s ON s.oid = p.pronamespace
WHERE f.classoid = 'pg_proc'::regclass AND f.description LIKE '{"adopted_by": "outbox-relay"%'
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
ORDER BY 1, 2, 10
