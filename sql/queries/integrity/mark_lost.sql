-- Have delivered events, seqs ($1) and ids ($7), sent again that stream $2 has lost at sequences $8: they are due retries from $3 (Unix seconds) on, or $4
-- seconds after their delivery if that is later. Where they were stays written down.
-- By relay $5, whose epochs add up to $6; an operator's command is no relay (null), since nobody works on delivered events.
-- The ids must be those that were compared: a sequence that was set back draws seqs again. So must be the sequences in the
-- stream: an event that was delivered once more meanwhile is not lost.
-- Primary key look-ups. Not heap-only: retry_at is indexed; losses are rare.
UPDATE outbox_events e
SET delivered_at = NULL,
    retry_at = greatest(to_timestamp($3::float8), e.delivered_at + make_interval(secs => $4)),
    last_error = 'stream ' || e.stream || ' lost it at sequence ' || e.stream_seq || ': sent again',
    failure_class = NULL
FROM unnest($1::bigint[], $7::uuid[], $8::bigint[]) AS d (seq, id, stream_seq)
WHERE e.seq = d.seq
  AND e.id = d.id
  AND e.seq = ANY ($1::bigint[])
  AND e.stream = $2
  AND e.stream_seq = d.stream_seq
  AND e.delivered_at IS NOT NULL
  AND ($5::text IS NULL OR (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $5::text) = $6::bigint)
