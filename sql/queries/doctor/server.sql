-- What the server is and how it is set; settings that a role may not see come back as null.
SELECT current_setting('server_version_num')::int,
       current_setting('server_version'),
       getdatabaseencoding(),
       pg_is_in_recovery(),
       current_user::text,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       current_setting('max_prepared_transactions')::int,
       current_setting('fsync') = 'on',
       current_setting('full_page_writes') = 'on',
       current_setting('autovacuum') = 'on',
       current_setting('default_transaction_read_only') = 'on',
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       extract(epoch FROM clock_timestamp())::float8
