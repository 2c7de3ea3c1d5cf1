-- Which headers that control the server a relay lets through (headers.allow_nats), for those who decide about dead letters: what
-- becomes of one with such a header follows from it. Written with each beat; it ends with the row.
-- Oldest relay: 6
ALTER TABLE outbox_members ADD COLUMN allow_nats text[];

COMMENT ON COLUMN outbox_members.allow_nats IS 'headers.allow_nats of this relay, in lower case; null: written by an older relay';
