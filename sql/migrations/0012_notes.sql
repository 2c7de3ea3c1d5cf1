-- What only a relay knows of itself, for those who ask the database: events that are stored and whose marks the database
-- refuses, seqs that are drawn again. Written with each beat; it ends with the row.
-- Oldest relay: 6
ALTER TABLE outbox_members ADD COLUMN notes text;

COMMENT ON COLUMN outbox_members.notes IS 'What this relay works in spite of, a line for each; null: nothing, or written by an older relay';
