-- Write down a migration: its version ($1) and name ($2).
INSERT INTO outbox_migrations (version, name) VALUES ($1, $2)
