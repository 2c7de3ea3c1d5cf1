-- What the publication $1 sends of the table $2: the table, its partitions, and the tables that it is a partition of. The view
-- counts what the publication names itself and what its schemas hold. As many rows as it sends tables.
SELECT c.oid::regclass::text
FROM pg_publication_tables t
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE t.pubname = $1
  AND (c.oid = to_regclass($2)
       OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($2)))
       OR c.oid IN (SELECT relid FROM pg_partition_ancestors(to_regclass($2))))
ORDER BY 1
