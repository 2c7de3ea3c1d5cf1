-- Owner $4 has provably ended: its lease is over. A name is of one run and never comes again, so nothing of a living one is
-- touched. The owner stays: the next claim counts a crash, and its epoch fences what the dead one's session may still do.
-- By primary key, once for each runner that was killed; waits for no lock that this session may still hold.
UPDATE projection.state SET lease_until = '-infinity'
WHERE (name, generation, partition) IN (
    SELECT name, generation, partition FROM projection.state
    WHERE name = $1 AND generation = $2 AND partition = $3 AND owner = $4 FOR UPDATE SKIP LOCKED
)
