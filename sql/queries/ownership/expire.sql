-- The relays $1 (text[]) have ended: their leases are over, and nobody keeps a share for them. A name is of one process
-- and never comes again, so nothing of a living relay is touched, and it may be run twice. The owner stays: the next claim
-- counts a crash and raises the epoch, which fences what the dead one's sessions may still do.
-- Once for each relay that was killed; both tables are a few pages.
WITH gone AS (
    DELETE FROM outbox_members WHERE member = ANY($1::text[])
)
UPDATE outbox_shards
SET lease_until = least(lease_until, clock_timestamp())
WHERE owner = ANY($1::text[])
