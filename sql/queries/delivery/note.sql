-- Write on a held event ($1) why it waits ($2) and the class of that ($6); no attempt is counted. Heap-only.
-- By relay $3,
-- whose epochs add up to $4. Its id is $5.
-- Only if the row is still what was read of it: its key ($7) and the digest of what is sent ($8), which is not made of a row
-- that is stored in more than $9 bytes. A row that was waited for is looked at as it is when its lock is gone.
-- A row that somebody else has locked is waited for 250 ms, for this statement alone (docs/design/bounds.md).
UPDATE outbox_events e
SET last_error = $2,
    failure_class = $6
WHERE seq = $1
  AND id = $5::uuid
  AND delivered_at IS NULL
  AND dead_at IS NULL
  AND e.key IS NOT DISTINCT FROM $7::text
  AND (
-- include: digest($9)
  ) = $8::text
-- include: fence($3, $4)
  AND (SELECT set_config('lock_timeout', '250ms', true)) IS NOT NULL
