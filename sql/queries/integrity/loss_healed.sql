-- Close the loss of stream $1: what it lost was given back to be sent again. Only a loss that stood open at $2 (Unix
-- seconds), when the comparison began: a later one may lie among what was compared already. A row a shard.
UPDATE outbox_streams SET lost_at = NULL WHERE stream = $1 AND lost_at <= to_timestamp($2::float8)
