-- Of the seqs $1 those whose events are pending: the id, the key, and a digest of what is sent, to tell whether an event
-- that waits in memory is still what the table has (relay/delivery/waiting_check.py, which writes the digest the same way).
-- A row that is stored in more than $2 bytes has no digest: it is not read.
-- Primary key look-ups; SHA-256 of the payload takes 2 ms a MiB. The caller bounds both.
SELECT e.seq,
       e.id::text,
       CASE WHEN pg_column_size(e.key) <= $2 THEN e.key END,
       CASE WHEN pg_column_size(e.topic) + pg_column_size(e.payload) + coalesce(pg_column_size(e.headers), 0) <= $2
            THEN encode(sha256(
                convert_to(e.topic, 'UTF8') || '\x00'::bytea
                || coalesce(convert_to(e.headers::text, 'UTF8'), '\x01'::bytea) || '\x00'::bytea
                || convert_to(textin(jsonb_out(e.payload)), 'UTF8')
            ), 'hex') END
FROM outbox_events e
WHERE e.seq = ANY ($1::bigint[])
  AND e.delivered_at IS NULL
  AND e.dead_at IS NULL
