-- Whether inserts ring the bell.
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('outbox_events') AND tgname = 'outbox_bell')
