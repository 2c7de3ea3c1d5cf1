-- Who, beside the owner and the outbox's own roles, may change, delete or truncate rows of a table of the outbox, by grants on whole tables:
-- as default privileges of the owner give them to an application. A grant on columns was thought of by somebody.
SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
       array_agg(DISTINCT c.oid::regclass::text),
       array_agg(DISTINCT a.privilege_type)
FROM pg_class c
CROSS JOIN aclexplode(c.relacl) a
LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE c.oid IN ('outbox_events'::regclass, 'outbox_shards'::regclass, 'outbox_streams'::regclass, 'outbox_members'::regclass,
                'outbox_origin'::regclass, 'outbox_audit'::regclass, 'outbox_migrations'::regclass)
  AND a.grantee <> c.relowner
  AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
  AND r.rolname IS DISTINCT FROM 'outbox_relay'
GROUP BY a.grantee, r.rolname
ORDER BY 1
