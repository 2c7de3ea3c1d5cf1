-- Make an event ($1) a dead letter: its attempts ($2), the reason ($3) and its class ($7); by relay $4, whose
-- epochs add up to $5. Its id is $6.
-- A row that somebody else has locked is waited for 250 ms, for this statement alone (docs/design/bounds.md).
UPDATE outbox_events
SET dead_at = clock_timestamp(),
    retry_at = NULL,
    attempts = $2,
    last_error = $3,
    failure_class = $7
WHERE seq = $1
  AND id = $6::uuid
  AND delivered_at IS NULL
  AND dead_at IS NULL
-- include: fence($4, $5)
  AND (SELECT set_config('lock_timeout', '250ms', true)) IS NOT NULL
