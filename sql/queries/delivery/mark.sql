-- Mark events delivered: stream ($1), their seq ($2) and their sequence in the stream ($3), by relay $4, whose epochs
-- add up to $5. Their ids ($6) must be those that were sent: a database that went back draws seqs again.
-- One pass over the primary key reads these rows and none between them (an atomic batch is a few keys of many, so
-- its rows lie far apart); no index is touched, so the update is heap-only: 2 to 4 us a row.
-- The arrays come in binary form (relay/postgres/arrays.py): as text the ids alone would take 0.6 us a row.
-- retry_at changes only if it was set.
-- A row that somebody else has locked is waited for 250 ms, for this statement alone (docs/design/bounds.md).
UPDATE outbox_events e
SET delivered_at = clock_timestamp(),
    stream = $1,
    stream_seq = d.stream_seq,
    retry_at = NULL
FROM unnest($2::bigint[], $3::bigint[], $6::uuid[]) AS d (seq, stream_seq, id)
WHERE e.seq = d.seq
  AND e.id = d.id
  AND e.seq = ANY ($2::bigint[])
  AND e.delivered_at IS NULL
-- include: fence($4, $5)
  AND (SELECT set_config('lock_timeout', '250ms', true)) IS NOT NULL
