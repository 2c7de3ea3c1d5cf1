-- What may keep the relay from writing what it keeps for itself: check constraints, triggers and rules on its own tables,
-- where `relay migrate` makes none. The table, the kind and the name of each. From catalogues that everybody may read.
WITH own AS (
    SELECT t.oid
    FROM (VALUES ('outbox_shards'::regclass::oid), ('outbox_members'::regclass::oid), ('outbox_streams'::regclass::oid))
             AS t (oid)
)
SELECT c.conrelid::regclass::text, 'constraint', quote_ident(c.conname)
FROM pg_constraint c
JOIN own ON own.oid = c.conrelid
WHERE c.contype = 'c'
UNION ALL
SELECT t.tgrelid::regclass::text, 'trigger', quote_ident(t.tgname)
FROM pg_trigger t
JOIN own ON own.oid = t.tgrelid
WHERE NOT t.tgisinternal
  AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT r.ev_class::regclass::text, 'rule', quote_ident(r.rulename)
FROM pg_rewrite r
JOIN own ON own.oid = r.ev_class
WHERE r.ev_type <> '1'
  AND r.ev_enabled <> 'D'
ORDER BY 1, 2, 3
