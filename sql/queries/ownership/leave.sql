-- Relay $1 has ended: the others need not keep a share for it, and what it claimed last is free.
WITH gone AS (
    DELETE FROM outbox_members WHERE member = $1
)
UPDATE outbox_shards
SET lease_until = '-infinity',
    owner = NULL
WHERE owner = $1
