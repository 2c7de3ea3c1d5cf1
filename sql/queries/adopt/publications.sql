-- The publications that carry a table: whether each does so without naming it (FOR ALL TABLES, or those of a schema), and
-- whose it is. The view lists what a publication sends, which for a partitioned table may be its partitions instead. As
-- many rows as there are publications; the view reads the catalogue of tables for each.
SELECT p.pubname, NOT listed.is_named, pg_has_role(p.pubowner, 'USAGE'), pg_get_userbyid(p.pubowner)::text
FROM pg_publication p
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = to_regclass($1)) AS is_named
) AS listed
WHERE listed.is_named OR p.puballtables OR EXISTS (
    SELECT FROM pg_publication_tables t
    JOIN pg_class c ON c.relname = t.tablename JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname
    WHERE t.pubname = p.pubname AND c.oid = to_regclass($1)
)
ORDER BY p.pubname
