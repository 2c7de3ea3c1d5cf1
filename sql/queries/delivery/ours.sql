-- Whether the shards are still ours: the epochs of what relay $1 owns add up to $2. Asked only when a write has changed less
-- than it was to change.
SELECT coalesce(sum(s.epoch) = $2, false) FROM outbox_shards s WHERE s.owner = $1
