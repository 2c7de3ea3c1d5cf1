-- Takes the row of a view until the end of the transaction, and returns what decides whether it is refreshed: at most one
-- row, none while another runner refreshes it. The lock of the row ends with the session, so a crash leaves none behind.
-- What was applied and is complete is read here, before REFRESH takes its snapshot: all of that will be in the view.
-- By primary key; once for each look at the view, at most every second.
-- The limits are of this transaction: a statement has $4 seconds, a lock 10, and a runner that was frozen keeps the row for
-- 30. A server on Linux ends the refresh of a runner that has crashed; others finish it and roll it back.
SELECT extract(epoch FROM clock_timestamp() - r.refreshed_at)::float8 AS age_s,
       coalesce(r.took_s, 0) AS took_s,
       extract(epoch FROM r.retry_at - clock_timestamp())::float8 AS retry_in_s,
       s.applied IS DISTINCT FROM r.applied AS is_changed,
       coalesce((SELECT relispopulated FROM pg_class c
                 WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relname = $3), true) AS is_populated,
       r.failures,
       s.applied,
       s.complete_up_to,
       set_config('statement_timeout', ($4::bigint * 1000)::text, true),
       set_config('lock_timeout', '10s', true),
       set_config('idle_in_transaction_session_timeout', '30s', true),
       CASE WHEN version() LIKE '%linux%' AND current_setting('client_connection_check_interval', true) IS NOT NULL
            THEN set_config('client_connection_check_interval', '5s', true) END
FROM projection.refreshes r
CROSS JOIN LATERAL (
    SELECT sum(p.applied)::bigint AS applied,
           CASE WHEN bool_and(p.complete_up_to IS NOT NULL) THEN min(p.complete_up_to) END AS complete_up_to
    FROM projection.state p
    WHERE p.name = r.name AND p.generation = r.generation
) s
WHERE r.name = $1 AND r.generation = $2 AND r.view = $3
FOR UPDATE OF r SKIP LOCKED
