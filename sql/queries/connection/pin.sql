-- Make a new session what our statements expect, whatever was set for the role, the database or the environment. $1 is
-- the server process that the login named: behind a pooler another one answers, and its settings are left to those who
-- share it. Returns each setting, what it should be, what it is now, and whether the session is ours.
-- Once a connection, 0.3 ms. The limit of time comes first: it may be shorter than what follows takes.
SELECT s.name,
       s.wanted,
       CASE WHEN pg_backend_pid() = $1 THEN set_config(s.name, s.wanted, false) ELSE current_setting(s.name) END,
       pg_backend_pid() = $1
FROM (VALUES
    -- Limits that cancel a statement, or end a session that waits for the bell: the relay has its own.
    ('statement_timeout', '0'),
    ('lock_timeout', '0'),
    ('idle_session_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0'),
    ('transaction_timeout', '0'),
    -- Each statement is a transaction that sees what is committed. That a role may only read is for the DBA to say.
    ('default_transaction_isolation', 'read committed'),
    ('default_transaction_deferrable', 'off'),
    -- How values are written and read as text.
    ('client_encoding', 'UTF8'),
    ('DateStyle', 'ISO, MDY'),
    ('IntervalStyle', 'postgres'),
    ('TimeZone', 'UTC'),
    ('extra_float_digits', '1'),
    ('bytea_output', 'hex'),
    ('standard_conforming_strings', 'on'),
    ('backslash_quote', 'safe_encoding'),
    ('transform_null_equals', 'off'),
    ('array_nulls', 'on'),
    -- On: what a policy hides is missing, and outbox_identity() says so. Off: statements fail although a policy shows all.
    ('row_security', 'on'),
    -- Every statement has its index; the planner must be free to use it.
    ('enable_indexscan', 'on'),
    ('enable_indexonlyscan', 'on'),
    ('enable_nestloop', 'on'),
    ('enable_sort', 'on')
) AS s (name, wanted)
WHERE current_setting(s.name, true) IS NOT NULL
