-- The shards of relay $1 have not ended it.
UPDATE outbox_shards
SET crashes = 0
WHERE owner = $1
  AND crashes > 0
