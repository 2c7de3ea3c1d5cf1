-- Insert one event of a trial: topic ($1), key ($2), payload ($3, of the column's type).
INSERT INTO outbox_events (topic, key, payload) VALUES ($1, $2, $3)
