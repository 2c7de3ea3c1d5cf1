-- Of the seqs $1 those whose events are pending: neither delivered, nor dead, nor deleted. Primary key look-ups.
SELECT seq
FROM outbox_events
WHERE seq = ANY ($1::bigint[])
  AND delivered_at IS NULL
  AND dead_at IS NULL
