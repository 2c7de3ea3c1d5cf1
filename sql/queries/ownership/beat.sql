-- One beat of relay $1: it lives for $2 more seconds, keeps its shards ($3) in their epochs ($4) for as long if they are
-- still its own (an operator may have written another owner, and no other epoch), and
-- persists their watermark ($5: seq, $6: time in Unix seconds or null), which never moves back, but for a time that the
-- clock of the database has yet to reach: then that clock was set back, and what is committed now would lie before it. The
-- watermark is of the database whose identity is $7 (null: any): in another one nothing is persisted. It never passes the sequence: rows that
-- were inserted by hand far ahead may be settled, and what is drawn next lies below them. $8 is what the relay says of itself, $9 which headers it lets through.
-- A lease of another relay that runs for longer than any may (lease.ttl_s, at most an hour) was taken before the clock was
-- set back: it is cut down to that. Its owner renews it with its next beat, if it lives.
-- Returns the shards that were kept, the others that are alive with how many shards they own, how many shards are free,
-- how many there are, the time at which this statement came, the identity of the database, the newest seq that was
-- visible then, the last one that was drawn (null if this role may not see the sequence), the origins of seqs, and what the
-- table of events is made of, as ownership/columns.sql has it (null if it does not exist).
-- 1.1 ms with 64 shards.
WITH RECURSIVE
-- include: columns
, database AS (
    SELECT outbox_identity('outbox_events', 'outbox_shards', 'outbox_streams', 'outbox_members') AS identity,
           (SELECT CASE WHEN has_sequence_privilege(q.oid, 'SELECT, USAGE') THEN coalesce(pg_sequence_last_value(q.oid), 0) END
            FROM (SELECT pg_get_serial_sequence('outbox_events', 'seq')::regclass::oid) AS q (oid)) AS drawn
), beat AS (
    INSERT INTO outbox_members (member, lease_until, notes, allow_nats)
    VALUES ($1, clock_timestamp() + make_interval(secs => $2), nullif($8, ''), $9::text[])
    ON CONFLICT (member) DO UPDATE
    SET lease_until = excluded.lease_until, notes = excluded.notes, allow_nats = excluded.allow_nats
), kept AS (
    UPDATE outbox_shards s
    SET lease_until = clock_timestamp() + make_interval(secs => $2),
        watermark = CASE WHEN d.ours THEN greatest(s.watermark, least($5, d.drawn)) ELSE s.watermark END,
        watermark_at = CASE WHEN d.ours
            THEN greatest(CASE WHEN s.watermark_at <= clock_timestamp() THEN s.watermark_at END,
                          CASE WHEN to_timestamp($6) <= clock_timestamp() THEN to_timestamp($6) END)
            ELSE s.watermark_at END
    FROM unnest($3::integer[], $4::bigint[]) AS held (shard, epoch),
         (SELECT coalesce(identity = $7::text, true) AS ours, drawn FROM database) AS d
    WHERE s.shard = held.shard
      AND s.epoch = held.epoch
      AND s.owner = $1
    RETURNING s.shard
), cut AS (
    UPDATE outbox_shards
    SET lease_until = clock_timestamp() + interval '1 hour'
    WHERE owner <> $1
      AND lease_until > clock_timestamp() + interval '1 hour'
), cut_members AS (
    UPDATE outbox_members
    SET lease_until = clock_timestamp() + interval '1 hour'
    WHERE member <> $1
      AND lease_until > clock_timestamp() + interval '1 hour'
), gone AS (
    DELETE FROM outbox_members
    WHERE member <> $1
      AND lease_until < clock_timestamp() - interval '1 minute'
)
SELECT ARRAY(SELECT shard FROM kept),
       (SELECT json_object_agg(m.member, (SELECT count(*) FROM outbox_shards s WHERE s.owner = m.member))
        FROM outbox_members m
        WHERE m.member <> $1 AND m.lease_until >= clock_timestamp()),
       (SELECT count(*) FROM outbox_shards WHERE lease_until < clock_timestamp()),
       (SELECT count(*) FROM outbox_shards),
       date_part('epoch', statement_timestamp()),
       (SELECT identity FROM database),
       coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0),
       (SELECT drawn FROM database),
       (SELECT string_agg(above || ':' || origin, ',' ORDER BY above) FROM outbox_origin),
       (SELECT json_agg(json_build_array(kind::text, name::text, replace(format_type(oid, NULL), '"', '')))
        FROM found WHERE base = 0 OR name IS NULL)
