-- The work in 64 shards, so that replicas can share it, and the replicas that are alive.
--
-- A key belongs to one shard, an event without a key to one by its seq; each shard has one owner at a time.
-- The number of shards is the number of rows here. It changes only while no relay runs.
INSERT INTO outbox_shards (shard, watermark, watermark_at)
SELECT shard, old.watermark, old.watermark_at
FROM generate_series(1, 63) AS shard
CROSS JOIN (SELECT watermark, watermark_at FROM outbox_shards WHERE shard = 0) AS old;

CREATE TABLE outbox_members (
    member      text        PRIMARY KEY,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE outbox_members IS 'The relays that are alive: each takes a fair share of the shards';

-- Inlined by the planner. Evaluated by the server alone, so all replicas agree.
CREATE FUNCTION outbox_shard(key text, seq bigint, shards bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN mod(CASE WHEN key IS NULL THEN seq ELSE hashtextextended(key, 0) & 9223372036854775807 END, shards)::integer;

COMMENT ON COLUMN outbox_shards.watermark IS 'Every event of this shard up to this seq is delivered or a dead letter';
COMMENT ON COLUMN outbox_shards.watermark_at IS 'Every event of this shard whose commit had returned by then is settled';
