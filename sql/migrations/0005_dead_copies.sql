-- When a dead letter was published to failures.dead_subject. In no index: see discarded_at.
ALTER TABLE outbox_events ADD COLUMN dead_copied_at timestamptz;

COMMENT ON COLUMN outbox_events.dead_copied_at IS 'When a dead letter was published to the configured subject as well';
