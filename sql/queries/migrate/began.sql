-- Whether a migration was ever begun here.
SELECT to_regclass('outbox_migrations') IS NOT NULL
