-- The action that the preview $2 has begun, no row if none; it is past the action $1, the newest when the preview was made.
-- Range scan of the primary key; twice a change.
SELECT a.id
FROM outbox_audit a
WHERE a.id > $1
  AND a.filter ->> 'preview' = $2
ORDER BY a.id
LIMIT 1
