-- Count $2 more events of the action $1, now done up to seq $3 (null: not told).
UPDATE outbox_audit
SET events = events + $2,
    position = coalesce($3::bigint, position)
WHERE id = $1
