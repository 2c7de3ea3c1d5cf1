-- fence(owner, epochs): the relay still owns the shards that it owned, since the epochs of what it owns add up to the same.
  AND (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = :owner) = :epochs
