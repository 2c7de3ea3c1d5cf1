-- The first seq above $1 that is in the table; no row above the last one. One step of the primary key.
SELECT seq FROM outbox_events WHERE seq > $1 ORDER BY seq LIMIT 1
