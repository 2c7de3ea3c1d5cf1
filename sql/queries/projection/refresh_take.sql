-- Takes the row of a view until the end of the transaction: one row, none while another runner refreshes the view. The lock
-- of the row ends with the session, so a crash leaves none behind.
-- By primary key; once for each look at the view, at most every second.
-- What decides is read by the next statement (refresh_known), with the snapshot of that one. This one may have begun before
-- another runner committed its refresh, and would take the row all the same: it would see the row of now beside a view and
-- a state of then, and refresh the view once more.
-- The limits are of this transaction: a statement has $4 seconds, a lock 10, and a runner that was frozen keeps the row for
-- 30. A server on Linux ends the refresh of a runner that has crashed; others finish it and roll it back.
SELECT set_config('statement_timeout', ($4::bigint * 1000)::text, true),
       set_config('lock_timeout', '10s', true),
       set_config('idle_in_transaction_session_timeout', '30s', true),
       CASE WHEN version() LIKE '%linux%' AND current_setting('client_connection_check_interval', true) IS NOT NULL
            THEN set_config('client_connection_check_interval', '5s', true) END
FROM projection.refreshes r
WHERE r.name = $1 AND r.generation = $2 AND r.view = $3
FOR UPDATE SKIP LOCKED
