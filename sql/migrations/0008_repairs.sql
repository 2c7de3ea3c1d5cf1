-- A stream that has lost events gets them again once: whether that has helped has to be seen before it is done again.
-- Oldest relay: 6
ALTER TABLE outbox_streams ADD COLUMN repaired_at timestamptz;

COMMENT ON COLUMN outbox_streams.repaired_at IS 'When lost events were last given back to be sent again; null once the stream was seen to hold an event delivered after that';
