-- Give the leases of shards ($1) in their epochs ($2) back and persist their watermark ($3: seq, $4: Unix seconds), which
-- is of the database whose identity is $5 (null: any): in another one it is not persisted. As in beat.sql it never passes
-- the sequence, nor the clock.
UPDATE outbox_shards s
SET lease_until = '-infinity',
    owner = NULL,
    watermark = CASE WHEN d.ours THEN greatest(s.watermark, least($3, d.drawn)) ELSE s.watermark END,
    watermark_at = CASE WHEN d.ours
        THEN greatest(CASE WHEN s.watermark_at <= clock_timestamp() THEN s.watermark_at END,
                      CASE WHEN to_timestamp($4) <= clock_timestamp() THEN to_timestamp($4) END)
        ELSE s.watermark_at END
FROM unnest($1::integer[], $2::bigint[]) AS held (shard, epoch),
     (SELECT coalesce($5::text = outbox_identity('outbox_events', 'outbox_shards', 'outbox_streams', 'outbox_members'), true) AS ours,
             (SELECT CASE WHEN has_sequence_privilege(q.oid, 'SELECT, USAGE') THEN coalesce(pg_sequence_last_value(q.oid), 0) END
              FROM (SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass::oid) AS q (oid)) AS drawn) AS d
WHERE s.shard = held.shard
  AND s.epoch = held.epoch
