-- Which history the seqs of the outbox belong to: a table that was restored to an earlier time draws seqs again, for other
-- events. One row at first; `relay migrate --new-origin` adds one after a restore, for the seqs that are drawn from then
-- on. What was drawn before keeps its origin, so that it is recognised if it is sent again.
-- Oldest relay: 6
CREATE TABLE outbox_origin (
    above  bigint      NOT NULL PRIMARY KEY CHECK (above >= 0),
    origin text        NOT NULL UNIQUE CHECK (origin ~ '^[0-9a-f]{8}$'),
    since  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO outbox_origin (above, origin) VALUES (0, substr(md5(gen_random_uuid()::text), 1, 8));

COMMENT ON TABLE outbox_origin IS 'Which history the seqs of the outbox belong to; (origin, seq) names an event for ever';
COMMENT ON COLUMN outbox_origin.above IS 'The origin is of the seqs above this one, up to the next origin';
