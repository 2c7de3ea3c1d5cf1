-- When the table $1 was last taken out of its reader's publication, and which that was; no row if it never was. Backward scan of
-- the primary key: the audit has one line for each command.
SELECT date_part('epoch', a.began_at), a.filter ->> 'publication'
FROM outbox_audit a
WHERE a.action = 'adopt install' AND a.events = 1
  AND a.filter ->> 'table' = $1 AND a.filter ->> 'publication' IS NOT NULL
ORDER BY a.id DESC
LIMIT 1
