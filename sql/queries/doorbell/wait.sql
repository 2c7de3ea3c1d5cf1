-- Stand in line for the bell, until every transaction that shares its lock has ended; it is given back at once. As long
-- as somebody stands there nobody else can begin to share it, so that each insert of a later transaction rings. After the
-- lock_timeout of the session one stands in line again: who is stopped, or cut off, must not make producers ring for hours.
SELECT pg_advisory_xact_lock(1869968482, 'outbox_events'::regclass::oid::integer)
