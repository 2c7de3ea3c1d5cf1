-- What the relays that are alive say of themselves: a few rows, and none as a rule.
SELECT member, notes FROM outbox_members WHERE notes IS NOT NULL AND lease_until >= clock_timestamp() ORDER BY member
