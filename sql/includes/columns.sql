-- columns: what the table of events is, and its columns with their types, from the catalogue, that of a domain followed by the one
-- it is over (base = 0 is the last). Nothing if the table does not exist, one row without a name if it has no column.
found (kind, name, oid, base) AS (
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
