-- Which relays are alive, and until when: what changes with each beat of one. A few rows; a few times a second, for
-- some seconds, by the command that has begun an origin.
SELECT member, extract(epoch FROM lease_until)::float8 FROM outbox_members WHERE lease_until >= clock_timestamp()
