-- Retry an event ($1) in $2 seconds: its attempts are now $3, the last error $4 and its class $8; by relay $5, whose
-- epochs add up to $6. Its id is $7.
-- Only if the row is still what was read of it: its key ($9) and the digest of what is sent ($10), which is not made of a row
-- that is stored in more than $11 bytes. A row that was waited for is looked at as it is when its lock is gone.
-- A row that somebody else has locked is waited for 250 ms, for this statement alone (docs/design/bounds.md).
UPDATE outbox_events e
SET retry_at = clock_timestamp() + make_interval(secs => $2),
    attempts = $3,
    last_error = $4,
    failure_class = $8
WHERE seq = $1
  AND id = $7::uuid
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND e.key IS NOT DISTINCT FROM $9::text
  AND (
-- include: digest($11)
  ) = $10::text
-- include: fence($5, $6)
  AND (SELECT set_config('lock_timeout', '250ms', true)) IS NOT NULL
