-- The newest migration that was applied.
SELECT max(version) FROM outbox_migrations
