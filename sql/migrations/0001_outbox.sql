-- The outbox, the ownership of its shards, and the index of what waits for a retry or a person.
--
-- fillfactor 45: every row is updated once, when it is marked delivered. With a little more than half of each
-- page left free (the mark makes a row larger) the new version lands on the same page, and since no index holds
-- a marked column the update is heap-only (HOT): 5 us and 510 bytes of WAL a row, against 13 us and 1,170 bytes
-- with a partial index on the pending rows, and no index entry ever dies.
--
-- autovacuum: the thresholds follow the rows that came since the last run, not the size of the table, so
-- that a table of many millions of delivered rows is vacuumed as often as a small one: for the visibility
-- map, for freezing in small portions, and so that the planner knows the newest seq.
CREATE TABLE outbox_events (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid        NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    topic        text        NOT NULL,
    key          text,
    payload      jsonb       NOT NULL,
    headers      jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    stream       text,
    stream_seq   bigint,
    attempts     integer     NOT NULL DEFAULT 0,
    retry_at     timestamptz,
    dead_at      timestamptz,
    last_error   text
) WITH (
    fillfactor = 45,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);

-- Both are empty in good times: a delivery touches neither.
CREATE INDEX ON outbox_events (retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX ON outbox_events (dead_at) WHERE dead_at IS NOT NULL;

COMMENT ON TABLE outbox_events IS 'Events to be published, in the order of seq; written in the transaction that causes them';
COMMENT ON COLUMN outbox_events.seq IS 'Order of the events; drawn before commit, so it has gaps and late comers';
COMMENT ON COLUMN outbox_events.id IS 'Message id on the wire (Nats-Msg-Id)';
COMMENT ON COLUMN outbox_events.key IS 'Events of one key keep their order; null: no order asked for';
COMMENT ON COLUMN outbox_events.delivered_at IS 'When the acknowledgement was marked; null: pending';
COMMENT ON COLUMN outbox_events.stream_seq IS 'Sequence in the stream, from the acknowledgement';
COMMENT ON COLUMN outbox_events.retry_at IS 'When a refused event is tried again';
COMMENT ON COLUMN outbox_events.dead_at IS 'When the event became a dead letter; last_error says why';

-- Who works, and how far everything is settled. Every write of an owner is fenced by its epoch.
-- One row for now: shard 0 holds every key.
CREATE TABLE outbox_shards (
    shard        integer     PRIMARY KEY,
    owner        text,
    epoch        bigint      NOT NULL DEFAULT 0,
    lease_until  timestamptz NOT NULL DEFAULT '-infinity',
    watermark    bigint      NOT NULL DEFAULT 0,
    watermark_at timestamptz
) WITH (fillfactor = 50);

INSERT INTO outbox_shards (shard) VALUES (0);

COMMENT ON COLUMN outbox_shards.watermark IS 'Every event up to this seq is delivered or a dead letter';
