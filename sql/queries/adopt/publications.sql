-- The publications that carry a table, whether each is of all tables, and whose it is. As many rows as there are
-- publications.
SELECT p.pubname, p.puballtables, pg_has_role(p.pubowner, 'USAGE'), pg_get_userbyid(p.pubowner)::text
FROM pg_publication p
WHERE p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = to_regclass($1))
ORDER BY p.pubname
