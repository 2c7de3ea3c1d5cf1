-- Where an owner of the shards $1 (null: all) begins: their lowest watermark, and of the same moment the identity of the
-- database, the newest seq that is visible, the last one that was drawn (null if this role may not see the sequence),
-- and the origins of seqs. See relay/rules/database/database_state.py.
SELECT (SELECT min(s.watermark) FROM outbox_shards s WHERE $1::integer[] IS NULL OR s.shard = ANY ($1::integer[])),
       outbox_identity('outbox_events', 'outbox_shards', 'outbox_streams', 'outbox_members'),
       coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0),
       (SELECT CASE WHEN has_sequence_privilege(q.oid, 'SELECT, USAGE') THEN coalesce(pg_sequence_last_value(q.oid), 0) END
        FROM (SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass::oid) AS q (oid)),
       (SELECT string_agg(above || ':' || origin, ',' ORDER BY above) FROM outbox_origin)
