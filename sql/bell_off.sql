-- Without the bell polling alone finds new events. Needed if producers use two-phase commit:
-- PostgreSQL refuses PREPARE TRANSACTION after a NOTIFY.
DROP TRIGGER IF EXISTS outbox_bell ON outbox_events;
DROP FUNCTION IF EXISTS outbox_ring();
