-- The newest migration that was applied, and the version that a relay must know to work here. By to_jsonb, because a
-- schema from before the column must be recognised too.
SELECT max(version), max(coalesce((to_jsonb(m) ->> 'oldest_relay')::integer, version)) FROM outbox_migrations m
