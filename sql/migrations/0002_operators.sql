-- What people decide: what they have changed by the command line, one line a command, never taken away by the
-- relay; and the dead letters that they let be.
CREATE TABLE outbox_audit (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at  timestamptz NOT NULL DEFAULT now(),
    ended_at  timestamptz,
    who       text        NOT NULL,
    role      text        NOT NULL DEFAULT session_user,
    action    text        NOT NULL,
    filter    jsonb       NOT NULL,
    planned   bigint      NOT NULL,
    events    bigint      NOT NULL DEFAULT 0,
    position  bigint
);

COMMENT ON TABLE outbox_audit IS 'What people have changed by the command line';
COMMENT ON COLUMN outbox_audit.ended_at IS 'When it was done; null: under way, or broken off';
COMMENT ON COLUMN outbox_audit.who IS 'User and host, as the command saw them';
COMMENT ON COLUMN outbox_audit.filter IS 'Which events were meant, and the options that mattered';
COMMENT ON COLUMN outbox_audit.planned IS 'How many events matched when it began';
COMMENT ON COLUMN outbox_audit.events IS 'How many events it has changed or sent';
COMMENT ON COLUMN outbox_audit.position IS 'The seq up to which it was done, where it can be resumed';

-- Only of dead letters. Not in the index on dead_at: making one anew would lock out producers of a large table.
ALTER TABLE outbox_events ADD COLUMN discarded_at timestamptz;

COMMENT ON COLUMN outbox_events.discarded_at IS 'When a person let a dead letter be; its key waits for it no longer';
