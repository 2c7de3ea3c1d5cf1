-- First statement of each transaction that applies a batch: settings of the transaction, then the fence.
-- A commit that is lost with the server takes position and effects with it, and both are made again: so no commit
-- waits for the disk.
-- A lock that another session holds ends the batch after 4 s, less than the lease: it is tried again, and meanwhile the
-- lease is renewed and the state says what is waited for.
SELECT set_config('search_path', $1, true), set_config('synchronous_commit', 'off', true),
       set_config('statement_timeout', $2, true), set_config('lock_timeout', '4s', true),
       projection.move($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
