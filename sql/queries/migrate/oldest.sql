-- Write down that relays which know version $2 may work on migration $1.
UPDATE outbox_migrations SET oldest_relay = $2 WHERE version = $1
