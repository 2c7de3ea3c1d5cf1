-- The event with id $1, delivered or not, without payload, headers and time. One probe of the unique index on id.
SELECT e.seq, e.id::text, e.topic, e.key, ''::bytea, NULL, 0::float8, e.attempts, e.retry_at > now()
FROM outbox_events e
WHERE e.id = $1::uuid
