-- The publications that carry a table, and whether each is of all tables. As many rows as there are publications.
SELECT p.pubname, p.puballtables
FROM pg_publication p
WHERE p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = to_regclass($1))
ORDER BY p.pubname
