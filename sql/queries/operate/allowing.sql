-- How many relays are alive, how many of them let header $1 (in lower case) through, and of how many that is not known, since they are
-- of an older release. A few rows.
SELECT count(*), count(*) FILTER (WHERE $1 = ANY (allow_nats)), count(*) FILTER (WHERE allow_nats IS NULL)
FROM outbox_members
WHERE lease_until >= clock_timestamp()
