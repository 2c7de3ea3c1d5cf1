-- Takes a partition that nobody owns, or whose lease has run out. Each claim is a new epoch, so that no write of an
-- earlier owner can land. An owner that did not give the partition back has crashed, or was frozen for as long.
-- One that was frozen in its transaction still holds the row's lock. Once the lease has run out, and the transaction has
-- sent nothing for as long as a lease ($5, in seconds), its session is ended, and the next claim finds the row free.
-- idle_in_transaction_session_timeout does not do: a pipeline ends with a message that stops that clock.
-- One row by primary key, and the server's locks if the lease has run out; asked once a second by each runner that waits.
WITH frozen AS MATERIALIZED (
    SELECT pg_terminate_backend(l.pid)
    FROM projection.state s
    JOIN pg_locks l
      ON l.locktype = 'transactionid' AND l.transactionid = s.xmax AND l.mode = 'ExclusiveLock' AND l.granted
    JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE s.name = $1 AND s.generation = $2 AND s.partition = $3 AND s.lease_until < clock_timestamp()
      AND a.usename = current_user AND a.state LIKE 'idle in transaction%'
      AND a.state_change < clock_timestamp() - make_interval(secs => $5)
), free AS (
    SELECT name, generation, partition FROM projection.state
    WHERE name = $1 AND generation = $2 AND partition = $3
      AND NOT paused AND status <> 'stopped' AND (owner IS NULL OR lease_until < clock_timestamp())
      AND (SELECT count(*) FROM frozen) >= 0
    FOR UPDATE SKIP LOCKED
)
UPDATE projection.state s
SET owner = $4, epoch = epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $5),
    crashes = crashes + (owner IS NOT NULL)::integer
FROM free f
WHERE s.name = f.name AND s.generation = f.generation AND s.partition = f.partition
RETURNING epoch, position, position_time_ns, stream_created, has_bits, crashes
