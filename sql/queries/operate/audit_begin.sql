-- Write down that $1 (user and host) begins to do $2 to the events of $3 (JSON), $4 of them; from seq $5, where it
-- can be resumed.
INSERT INTO outbox_audit (who, action, filter, planned, position)
VALUES ($1, $2, $3::jsonb, $4, $5)
RETURNING id
