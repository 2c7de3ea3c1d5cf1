-- The publications that carry a table: whether each does so without naming it (FOR ALL TABLES, or those of a schema), whose it
-- is and whether that is a superuser or may become one, its list of columns and its row filter, null for none. PostgreSQL 14 has
-- neither list nor filter, so they are read as members of JSON. The view lists what a publication sends, which for a partitioned
-- table may be its partitions instead. As many rows as there are publications; the view reads the catalogue of tables for each.
SELECT p.pubname, named.rel IS NULL, pg_has_role(p.pubowner, 'USAGE'), pg_get_userbyid(p.pubowner)::text,
       EXISTS (SELECT FROM pg_roles s WHERE s.rolsuper AND pg_has_role(p.pubowner, s.oid, 'MEMBER')),
       CASE WHEN named.rel ->> 'prattrs' IS NOT NULL THEN (sent.shown -> 'attnames')::text END, sent.shown ->> 'rowfilter'
FROM pg_publication p
LEFT JOIN LATERAL (
    SELECT to_jsonb(r) AS rel FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = to_regclass($1)
) AS named ON true
LEFT JOIN LATERAL (
    SELECT to_jsonb(t) AS shown FROM pg_publication_tables t
    JOIN pg_class c ON c.relname = t.tablename JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
    WHERE t.pubname = p.pubname AND c.oid = to_regclass($1)
) AS sent ON true
WHERE named.rel IS NOT NULL OR p.puballtables OR sent.shown IS NOT NULL
ORDER BY p.pubname
