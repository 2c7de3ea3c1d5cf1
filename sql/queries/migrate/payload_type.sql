-- The type of the payload column, from the catalogue; no row if the table does not exist.
SELECT format_type(a.atttypid, NULL)
FROM pg_attribute a
WHERE a.attrelid = to_regclass('outbox_events')
  AND a.attname = 'payload'
  AND NOT a.attisdropped
