-- The channel of the doorbell.
LISTEN "outbox_events"
