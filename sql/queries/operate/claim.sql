-- Take the change $1 of the audit table for this process, until the open transaction ends; false: another process has it.
-- A lock of the transaction, since one of the session would stay in a pooler's connection. The transaction stays open and
-- idle for as long as the change takes: it has no snapshot and no number, so it keeps vacuum from nothing. No limit of time
-- may end it, and the server notices within 11 s that the machine at the other end has crashed. Once a change.
SELECT pg_try_advisory_xact_lock(hashtextextended('outbox_audit', $1)),
       (
           SELECT count(set_config(s.name, s.wanted, true))
           FROM (VALUES
               ('idle_in_transaction_session_timeout', '0'),
               ('transaction_timeout', '0'),
               ('tcp_keepalives_idle', '5'),
               ('tcp_keepalives_interval', '2'),
               ('tcp_keepalives_count', '3')
           ) AS s (name, wanted)
           WHERE current_setting(s.name, true) IS NOT NULL
       )
