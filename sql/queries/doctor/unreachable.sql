-- Whether there is a row with the lowest of all seqs: every range begins above a seq, so it lies in none.
-- One step of the primary key.
SELECT EXISTS (SELECT FROM outbox_events WHERE seq = '-9223372036854775808'::bigint)
