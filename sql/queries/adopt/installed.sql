-- The adoptions of this database: our triggers say themselves what they are, in their comment. A partition has a clone
-- of its parent's trigger, which is not listed. As many rows as there are triggers with a comment.
SELECT n.nspname, c.relname, t.tgname, t.tgenabled <> 'D', d.description,
       encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'), format('%I.%I', pn.nspname, p.proname)
FROM pg_trigger t
JOIN pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_trigger'::regclass
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace
WHERE t.tgparentid = 0 AND d.description LIKE '{"adopted_by": "outbox-relay"%'
ORDER BY n.nspname, c.relname, t.tgname
