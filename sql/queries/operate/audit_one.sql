-- One action ($1), with the columns of audit.sql.
SELECT a.id, date_part('epoch', a.began_at), date_part('epoch', a.ended_at), a.who, a.role, a.action,
       a.filter::text, a.planned, a.events, a.position
FROM outbox_audit a
WHERE a.id = $1
