-- The type of the payload column, from the catalogue, that of a domain being the one it is over; no row if the table does
-- not exist.
WITH RECURSIVE type (oid, base) AS (
    SELECT t.oid, t.typbasetype
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass('outbox_events')
      AND a.attname = 'payload'
      AND NOT a.attisdropped
    UNION ALL
    SELECT t.oid, t.typbasetype
    FROM type d
    JOIN pg_type t ON t.oid = d.base
)
SELECT replace(format_type(oid, NULL), '"', '') FROM type WHERE base = 0
