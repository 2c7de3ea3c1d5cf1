-- One action ($1).
SELECT a.action, a.filter::text, a.planned, a.events, a.position, a.ended_at IS NOT NULL
FROM outbox_audit a
WHERE a.id = $1
