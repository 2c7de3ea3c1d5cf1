-- How far an owner is: asked after a commit whose answer was lost, and before each new look at the stream. No row if
-- the partition has another owner or was paused. By primary key.
SELECT epoch, position, position_time_ns, stream_created, has_bits, crashes FROM projection.state
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4 AND NOT paused AND status <> 'stopped'
