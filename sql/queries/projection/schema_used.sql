-- Whether a schema holds anything, by indexes of the catalogue; asked before a projection is made.
SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid) OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid)
       OR EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid)
FROM pg_namespace n WHERE n.nspname = $1
