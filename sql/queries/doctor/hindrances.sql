-- What acts when a row is changed, and so may keep a mark from being made: rules and triggers of others on UPDATE, and
-- publications that let no row be updated which their filter, or a missing replica identity, cannot name. The filter is
-- read by way of JSON, since PostgreSQL 14 has none. From catalogues that everybody may read, a few rows.
SELECT 'rule', quote_ident(r.rulename)
FROM pg_rewrite r
WHERE r.ev_class = 'outbox_events'::regclass
  AND r.ev_type = '2'
  AND r.ev_enabled <> 'D'
UNION ALL
SELECT 'trigger', quote_ident(t.tgname)
FROM pg_trigger t
WHERE t.tgrelid = 'outbox_events'::regclass
  AND NOT t.tgisinternal
  AND t.tgname <> 'outbox_bell'
  AND t.tgenabled IN ('O', 'A')
  AND t.tgtype::integer & 16 > 0
UNION ALL
SELECT CASE WHEN i.missing THEN 'identity' ELSE 'filter' END, quote_ident(v.pubname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_publication_tables v ON v.schemaname = n.nspname AND v.tablename = c.relname
JOIN pg_publication p ON p.pubname = v.pubname
CROSS JOIN LATERAL (
    SELECT c.relreplident = 'n'
        OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)
        OR c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisreplident)
) AS i (missing)
WHERE c.oid = 'outbox_events'::regclass
  AND p.pubupdate
  AND (i.missing OR c.relreplident <> 'f' AND to_jsonb(v) ->> 'rowfilter' IS NOT NULL)
ORDER BY 1, 2
