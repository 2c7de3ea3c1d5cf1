-- Which relays may go on working on a schema that is newer than they are: a migration that they can live with says
-- so in a line "-- Oldest relay: N", N being the newest version that such a relay must know.
ALTER TABLE outbox_migrations ADD COLUMN oldest_relay integer;

COMMENT ON COLUMN outbox_migrations.oldest_relay IS 'Relays that know this version may work on it; null: only those that know the migration itself';
