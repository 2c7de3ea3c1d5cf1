-- How many owners in a row have ended without a word: a row that ends the relay each time is searched for then.
-- Oldest relay: 6
ALTER TABLE outbox_shards ADD COLUMN crashes integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN outbox_shards.crashes IS 'How many owners in a row ended without giving the shard back';
