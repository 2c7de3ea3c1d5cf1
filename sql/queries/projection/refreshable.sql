-- Whether a name is a materialised view of a schema, and whether it has a unique index that CONCURRENTLY can use: of
-- plain columns, without WHERE. One row. By the catalogue's indexes; for `relay projection check`.
SELECT c.oid IS NOT NULL AS is_view,
       EXISTS (SELECT FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                 AND i.indpred IS NULL AND i.indexprs IS NULL) AS is_unique
FROM (VALUES (1)) one
LEFT JOIN pg_class c ON c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relname = $2 AND c.relkind = 'm'
