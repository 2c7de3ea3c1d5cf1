-- The lock of the bell bears the number of the table, in place of a hash of its name that each insert had to make: `relay migrate`
-- makes the trigger again (bell_on.sql). A relay of the release before hears no ring on this schema, and polls.
-- Oldest relay: 6
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'outbox_events'::regclass AND tgname = 'outbox_bell') THEN
        DROP TRIGGER outbox_bell ON outbox_events;
    END IF;
END
$$;
