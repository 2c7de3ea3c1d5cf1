-- What the server is known by, in one place, and for roles that may not ask everything, as on hosted PostgreSQL.
-- Oldest relay: 6
CREATE FUNCTION outbox_identity(events regclass, VARIADIC companions regclass[]) RETURNS text
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    cluster text := '-';
    started text := '-';
    reset   text := '-';
    hidden  text;
BEGIN
    -- A statement of this language is checked for rights when it is reached, so what may not be asked is passed over.
    IF has_function_privilege(to_regprocedure('pg_control_system()'), 'EXECUTE') THEN
        cluster := (SELECT system_identifier FROM pg_control_system());
    END IF;
    IF has_function_privilege(to_regprocedure('pg_postmaster_start_time()'), 'EXECUTE') THEN
        started := extract(epoch FROM pg_postmaster_start_time());
    END IF;
    -- Reset when the server recovers from the crash of any of its processes.
    IF has_table_privilege('pg_stat_archiver', 'SELECT')
       AND has_function_privilege(to_regprocedure('pg_stat_get_archiver()'), 'EXECUTE') THEN
        reset := (SELECT extract(epoch FROM stats_reset) FROM pg_stat_archiver);
    END IF;
    -- Tables of which row-level security hides rows from this role, unless a policy shows it all of them.
    hidden := (
        SELECT string_agg(c.relname, ',' ORDER BY c.relname)
        FROM pg_class c
        WHERE c.oid = ANY (events || companions)
          AND row_security_active(c.oid)
          AND EXISTS (
              SELECT
              FROM unnest('{r,w}'::"char"[]) AS needed (command)
              WHERE NOT EXISTS (
                        SELECT
                        FROM pg_policy p
                        WHERE p.polrelid = c.oid
                          AND p.polpermissive
                          AND p.polcmd IN ('*', needed.command)
                          AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                          AND EXISTS (SELECT FROM unnest(p.polroles) AS r (role)
                                      WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE')))
                 OR EXISTS (
                        SELECT
                        FROM pg_policy p
                        WHERE p.polrelid = c.oid
                          AND NOT p.polpermissive
                          AND p.polcmd IN ('*', needed.command)
                          AND EXISTS (SELECT FROM unnest(p.polroles) AS r (role)
                                      WHERE r.role = 0 OR pg_has_role(r.role, 'USAGE')))));
    RETURN concat_ws('/', cluster, started, coalesce(reset, '0'),
                     (SELECT oid FROM pg_database WHERE datname = current_database()), events::oid,
                     'hidden ' || hidden);
END
$$;

COMMENT ON FUNCTION outbox_identity(regclass, regclass[]) IS 'Changes whenever this database could have gone back, or is another one: system identifier, start of the server, last crash, database, table; - for what this role may not ask; and the tables of which rows are hidden from it';
