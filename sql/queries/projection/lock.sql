-- Only one runner makes tables at a time: until the end of the transaction. Once for each start.
SELECT pg_advisory_xact_lock(hashtextextended('projection', 0))
