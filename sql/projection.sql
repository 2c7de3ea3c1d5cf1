-- What `relay projection` keeps beside the read models, in the database that holds them. The first projection that runs
-- there makes it, and a newer relay brings it up to date; running it again changes nothing. The comment of the schema
-- holds the version of this file (relay/projection/store.py compares it).
--
-- One row of state for each projection, generation and partition. A generation is one build of the tables: there is
-- one today, and the column leaves room to build the next one beside it.
CREATE SCHEMA IF NOT EXISTS projection;

CREATE TABLE IF NOT EXISTS projection.generations (
    name        text        NOT NULL,
    generation  integer     NOT NULL,
    version     integer     NOT NULL,
    fingerprint text        NOT NULL,
    schema      text        NOT NULL,
    partitions  integer     NOT NULL,
    state       text        NOT NULL DEFAULT 'live' CHECK (state IN ('building', 'level', 'live', 'old')),
    began_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, generation)
);

CREATE TABLE IF NOT EXISTS projection.state (
    name             text        NOT NULL,
    generation       integer     NOT NULL,
    partition        integer     NOT NULL,
    owner            text,
    epoch            bigint      NOT NULL DEFAULT 0,
    lease_until      timestamptz NOT NULL DEFAULT '-infinity',
    stream           text        NOT NULL,
    stream_created   text,
    position         bigint      NOT NULL DEFAULT 0,
    position_time_ns bigint,
    has_bits         boolean     NOT NULL DEFAULT true,
    complete_seq     bigint,
    complete_up_to   timestamptz,
    applied          bigint      NOT NULL DEFAULT 0,
    repeats          bigint      NOT NULL DEFAULT 0,
    status           text        NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'running', 'waiting', 'stopped')),
    error            text,
    gap_last         bigint,
    paused           boolean     NOT NULL DEFAULT false,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, generation, partition)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS projection.applied (
    name       text    NOT NULL,
    generation integer NOT NULL,
    partition  integer NOT NULL,
    origin     text    NOT NULL,
    chunk      bigint  NOT NULL,
    bits       bytea   NOT NULL CHECK (octet_length(bits) = 1024),
    newest     double precision,
    PRIMARY KEY (name, generation, partition, origin, chunk)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS projection.parked (
    number         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text        NOT NULL,
    generation     integer     NOT NULL,
    partition      integer     NOT NULL,
    stream_created text        NOT NULL,
    stream_seq     bigint      NOT NULL,
    time_ns        bigint      NOT NULL,
    subject        text        NOT NULL,
    key            text,
    origin         text        NOT NULL,
    seq            bigint,
    headers        json        NOT NULL,
    payload        bytea       NOT NULL,
    reason         text,
    wanted         text CHECK (wanted IN ('retry', 'skip')),
    parked_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (name, generation, partition, stream_created, stream_seq)
);
-- Not by key, which may be longer than an index can hold: of a partition at most 1,000 events are parked.
DROP INDEX IF EXISTS projection.parked_by_key;
CREATE INDEX IF NOT EXISTS parked_in_order ON projection.parked (name, generation, partition, number);
CREATE INDEX IF NOT EXISTS parked_wanted ON projection.parked (name, generation, partition) WHERE wanted IS NOT NULL;

ALTER TABLE projection.state ADD COLUMN IF NOT EXISTS complete_origin text;
ALTER TABLE projection.state ADD COLUMN IF NOT EXISTS crashes integer NOT NULL DEFAULT 0;

-- NULL until one of these events is given up.
ALTER TABLE projection.applied ADD COLUMN IF NOT EXISTS skipped bytea CHECK (octet_length(skipped) = 1024);

ALTER TABLE projection.parked ADD COLUMN IF NOT EXISTS refusals integer NOT NULL DEFAULT 0;
ALTER TABLE projection.parked ADD COLUMN IF NOT EXISTS refused_at timestamptz;
UPDATE projection.parked SET refusals = 1, refused_at = parked_at WHERE reason IS NOT NULL AND refusals = 0;

CREATE TABLE IF NOT EXISTS projection.audit (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    who    text        NOT NULL,
    role   text        NOT NULL DEFAULT current_user,
    name   text        NOT NULL,
    action text        NOT NULL,
    what   jsonb       NOT NULL,
    events bigint      NOT NULL
);

CREATE TABLE IF NOT EXISTS projection.refreshes (
    name           text             NOT NULL,
    generation     integer          NOT NULL,
    view           text             NOT NULL,
    every_s        double precision NOT NULL,
    refreshed_at   timestamptz,
    took_s         double precision,
    applied        bigint           NOT NULL DEFAULT 0,
    complete_up_to timestamptz,
    failures       integer          NOT NULL DEFAULT 0,
    error          text,
    retry_at       timestamptz,
    PRIMARY KEY (name, generation, view)
);

COMMENT ON COLUMN projection.state.complete_origin IS 'The origin of the seqs that complete_seq speaks of';
COMMENT ON COLUMN projection.state.crashes IS 'How many owners in a row have ended without giving the partition back';
COMMENT ON TABLE projection.audit IS 'What operators have done to projections';
COMMENT ON TABLE projection.refreshes IS 'Materialised views that are refreshed on a schedule';
COMMENT ON COLUMN projection.refreshes.refreshed_at IS 'When the last refresh that succeeded began: what was applied before is in the view';
COMMENT ON COLUMN projection.refreshes.applied IS 'How many events the model included then';
COMMENT ON COLUMN projection.refreshes.complete_up_to IS 'Everything that was committed up to then is in the view';
COMMENT ON COLUMN projection.refreshes.failures IS 'How many refreshes in a row have failed, the last one with this error';
COMMENT ON COLUMN projection.state.position IS 'Every message of the stream up to this sequence is settled';
COMMENT ON COLUMN projection.state.position_time_ns IS 'When the stream stored the message there: what the stream is recognised by';
COMMENT ON COLUMN projection.state.has_bits IS 'Whether every event that was applied had a seq of the outbox';
COMMENT ON COLUMN projection.state.gap_last IS 'The last sequence of a gap that the projection stopped at';
COMMENT ON COLUMN projection.applied.bits IS 'One bit for each seq of the outbox from chunk * 8192 on: settled or not';
COMMENT ON COLUMN projection.applied.skipped IS 'One bit for each of these seqs: given up, and so not in the model';
COMMENT ON COLUMN projection.parked.reason IS 'Why it was refused; null if it only waits behind an earlier event of its key';
COMMENT ON COLUMN projection.parked.refusals IS 'How often it was refused, by a retry too; 0 if it only waits';
COMMENT ON COLUMN projection.parked.refused_at IS 'When it was refused last';

-- Moves the position, or raises if another runner owns the partition or has moved it. The first statement of the
-- transaction of the effects: the row's lock is the fence, and a runner that was frozen changes nothing.
CREATE OR REPLACE FUNCTION projection.move(
    own_name text, own_generation integer, own_partition integer, own_epoch bigint, lease_s double precision,
    previous bigint, next bigint, next_time_ns bigint, events bigint, skipped bigint, numbered boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE projection.state s
    SET position = next, position_time_ns = next_time_ns, applied = s.applied + events, repeats = s.repeats + skipped,
        has_bits = s.has_bits AND numbered, lease_until = clock_timestamp() + make_interval(secs => lease_s),
        status = 'running', error = NULL, gap_last = NULL, updated_at = clock_timestamp()
    WHERE s.name = own_name AND s.generation = own_generation AND s.partition = own_partition
      AND s.epoch = own_epoch AND s.position = previous AND NOT s.paused;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the partition has another owner, position or was paused' USING ERRCODE = 'PJ001';
    END IF;
END $$;

COMMENT ON SCHEMA projection IS 'relay projection, layout 6';
