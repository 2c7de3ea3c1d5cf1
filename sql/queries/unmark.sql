-- Have delivered events ($1, all of them between $2 and $3) sent again that stream $4 has lost: they are due retries from
-- $5 (Unix seconds) on, or $6 seconds after their delivery where that is later. Where they were stays written down.
-- By relay $7, whose epochs add up to $8; a person's command is no relay (null), since nobody works on delivered events.
-- Primary key look-ups inside a narrow range. Not heap-only: retry_at is indexed; losses are rare.
UPDATE outbox_events e
SET delivered_at = NULL,
    retry_at = greatest(to_timestamp($5::float8), e.delivered_at + make_interval(secs => $6)),
    last_error = 'stream ' || e.stream || ' lost it at sequence ' || e.stream_seq || ': sent again'
WHERE e.seq = ANY ($1::bigint[])
  AND e.seq BETWEEN $2 AND $3
  AND e.stream = $4
  AND e.delivered_at IS NOT NULL
  AND ($7::text IS NULL OR (SELECT sum(s.epoch) FROM outbox_shards s WHERE s.owner = $7::text) = $8::bigint)
