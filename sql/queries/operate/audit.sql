-- The newest $1 actions, the newest first. Backward scan of the primary key.
SELECT a.id, date_part('epoch', a.began_at), date_part('epoch', a.ended_at), a.who, a.role, a.action,
       a.filter::text, a.planned, a.events, a.position
FROM outbox_audit a
ORDER BY a.id DESC
LIMIT $1
