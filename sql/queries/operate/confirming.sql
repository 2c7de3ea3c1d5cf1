-- Wait until no other process begins what the preview $1 has shown; the lock ends with the transaction. Once a change.
SELECT pg_advisory_xact_lock(hashtextextended('outbox_preview ' || $1, 0))
