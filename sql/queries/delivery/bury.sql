-- Make an event ($1) a dead letter: its attempts ($2), the reason ($3) and its class ($7); by relay $4, whose
-- epochs add up to $5. Its id is $6.
-- Only if the row is still what was read of it: its key ($8) and the digest of what is sent ($9), which is not made of a row
-- that is stored in more than $10 bytes. A row that was waited for is looked at as it is when its lock is gone.
-- What was not read whole has a version ($11) instead, which each change makes another one (null: it was read whole).
-- A row that somebody else has locked is waited for 250 ms, for this statement alone (docs/design/bounds.md).
UPDATE outbox_events e
SET dead_at = clock_timestamp(),
    retry_at = NULL,
    attempts = $2,
    last_error = $3,
    failure_class = $7
WHERE seq = $1
  AND id = $6::uuid
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND CASE WHEN $11::xid IS NOT NULL THEN e.xmin = $11::xid
           ELSE e.key IS NOT DISTINCT FROM $8::text AND (
-- include: digest($10)
           ) = $9::text END
-- include: fence($4, $5)
  AND (SELECT set_config('lock_timeout', '250ms', true)) IS NOT NULL
