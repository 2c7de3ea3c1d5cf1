-- Takes a partition that nobody owns, or whose lease has run out. Each claim is a new epoch, so that no write of an
-- earlier owner can land. An owner that did not give the partition back has crashed, or was frozen for as long.
-- One row by primary key; asked once a second by each runner that waits.
UPDATE projection.state
SET owner = $4, epoch = epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $5),
    crashes = crashes + (owner IS NOT NULL)::integer
WHERE name = $1 AND generation = $2 AND partition = $3
  AND NOT paused AND status <> 'stopped' AND (owner IS NULL OR lease_until < clock_timestamp())
RETURNING epoch, position, position_time_ns, stream_created, has_bits, crashes
