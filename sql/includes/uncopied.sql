-- uncopied(of, function, always): what keeps rows of the table `of` from a trigger on it that runs `function`, as JSON: kind and
-- name of each. `always`: the trigger fires in a replica's session as well. By the catalogues of one table and its partitions.
coalesce((
    SELECT json_agg(json_build_array(u.kind, u.name) ORDER BY u.kind, u.name)
    FROM (
        SELECT 'child' AS kind, i.inhrelid::regclass::text AS name
        FROM pg_inherits i JOIN pg_class h ON h.oid = i.inhparent
        WHERE i.inhparent = :of AND h.relkind <> 'p'
        UNION ALL
        SELECT 'disabled', t.tgrelid::regclass::text
        FROM pg_trigger t WHERE t.tgfoid = :function AND t.tgparentid <> 0 AND t.tgenabled NOT IN ('O', 'A')
        UNION ALL
        SELECT 'foreign', h.oid::regclass::text
        FROM pg_partition_tree(:of) p JOIN pg_class h ON h.oid = p.relid
        WHERE h.relkind = 'f'
        UNION ALL
        SELECT 'subscription', r.srrelid::regclass::text
        FROM pg_subscription_rel r
        WHERE NOT :always AND (r.srrelid = :of OR r.srrelid IN (SELECT p.relid FROM pg_partition_tree(:of) p))
        UNION ALL
        SELECT 'replica', coalesce('role ' || o.rolname, 'database ' || current_database())
        FROM pg_db_role_setting s LEFT JOIN pg_roles o ON o.oid = s.setrole
        WHERE NOT :always
          AND (s.setdatabase = 0 OR s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
          AND EXISTS (SELECT FROM unnest(s.setconfig) AS one WHERE lower(one) = 'session_replication_role=replica')
        UNION ALL
        SELECT 'replica', 'this session' WHERE NOT :always AND current_setting('session_replication_role') = 'replica'
    ) AS u
), '[]')::text
