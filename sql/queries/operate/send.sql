-- Insert one event: id ($1), topic ($2), key ($3), payload ($4, of the column's type), headers ($5). The rights of a
-- producer are enough, so nothing is returned.
INSERT INTO outbox_events (id, topic, key, payload, headers) VALUES ($1, $2, $3, $4, $5)
