-- What a stream was last seen to hold. The highest mark moves on each second: what a stream loses is to be noticed by the
-- event that it held at the last look, also by a relay that begins after others have filled up what was lost.
-- Oldest relay: 6
ALTER TABLE outbox_streams
    ADD COLUMN looked_seq bigint,
    ADD COLUMN looked_id uuid;

COMMENT ON COLUMN outbox_streams.looked_seq IS 'The highest sequence at the last look that found nothing wrong, and looked_id the event there; null: none, or an older relay writes here';
