-- The same question as a beat's, so that the doctor and the relay agree on which tables hide rows from this role.
SELECT outbox_identity('outbox_events', 'outbox_shards', 'outbox_streams', 'outbox_members')
