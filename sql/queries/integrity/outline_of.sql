-- The event with id $1, delivered or not, without payload, headers and time. One probe of the unique index on id.
SELECT
-- include: outline_columns
FROM outbox_events e
WHERE e.id = $1::uuid
