-- Write down that the action $1 is done.
UPDATE outbox_audit
SET ended_at = clock_timestamp()
WHERE id = $1
