-- Count $2 more events of the action $1, now done up to seq $3 (null: not told). Changes no row if it is done, or if other
-- than $4 events are counted: then another process has gone on with it, and what belongs to this count must not be done.
UPDATE outbox_audit
SET events = events + $2,
    position = coalesce($3::bigint, position)
WHERE id = $1
  AND events = $4
  AND ended_at IS NULL
