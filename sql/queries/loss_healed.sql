-- Close the loss of stream $1: what it lost was given back to be sent again.
UPDATE outbox_streams SET lost_at = NULL WHERE stream = $1 AND lost_at IS NOT NULL
