-- What the table of events is, and the type of each of its columns, from the catalogue, that of a domain being the one it
-- is over; no row if the table does not exist, one without a name if it has no column.
WITH RECURSIVE found (kind, name, oid, base) AS (
    SELECT c.relkind, a.attname, t.oid, t.typbasetype
    FROM pg_class c
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.oid = to_regclass('outbox_events')
    UNION ALL
    SELECT f.kind, f.name, t.oid, t.typbasetype
    FROM found f
    JOIN pg_type t ON t.oid = f.base
)
-- Without quotes: quote_all_identifiers may be on behind a pooler.
SELECT kind::text, name::text, replace(format_type(oid, NULL), '"', '') FROM found WHERE base = 0 OR name IS NULL
