-- What the owner of a shard last saw of each stream: where to look for events that may have been stored without being
-- marked, and what to compare the stream with to notice that it has lost what it had acknowledged.
--
-- Written at most once a second for each stream that events go to; every column but the key is free to change, so the
-- update is heap-only.
CREATE TABLE outbox_streams (
    shard     integer NOT NULL,
    stream    text    NOT NULL,
    created   text,
    first_seq bigint  NOT NULL DEFAULT 0,
    floor     bigint  NOT NULL DEFAULT 0,
    mark_seq  bigint  NOT NULL DEFAULT 0,
    mark_id   uuid,
    lost_at   timestamptz,
    begun_at  timestamptz,
    PRIMARY KEY (shard, stream)
) WITH (fillfactor = 50);

COMMENT ON TABLE outbox_streams IS 'What the owner of a shard last saw of a stream';
COMMENT ON COLUMN outbox_streams.created IS 'When the stream was made, in the words of the server: another value hints at another stream';
COMMENT ON COLUMN outbox_streams.first_seq IS 'Messages below it were gone before any loss: aged out or purged';
COMMENT ON COLUMN outbox_streams.floor IS 'Every event of the shard that the stream holds at or below this sequence is marked delivered';
COMMENT ON COLUMN outbox_streams.mark_seq IS 'The highest sequence that was marked, and mark_id the event there';
COMMENT ON COLUMN outbox_streams.lost_at IS 'When a loss was proved that nobody has healed yet';
COMMENT ON COLUMN outbox_streams.begun_at IS 'What was delivered before went to an earlier stream of this name, and was seen to';
