-- Mark events delivered as mark.sql does ($1 to $6), but for those whose rows somebody else has locked: these are
-- neither waited for nor marked.
-- Asked only after mark.sql has met a lock. Returns whether the epochs of relay $4 still add up to $5, the
-- seqs that were marked, and those of the rows without a lock: a trigger or a rule may keep one of these as it is.
WITH fence AS (
    SELECT sum(s.epoch) = $5 AS holds FROM outbox_shards s WHERE s.owner = $4
), unlocked AS (
    SELECT e.seq
    FROM outbox_events e
    WHERE e.seq = ANY ($2::bigint[])
      AND e.delivered_at IS NULL
      AND (SELECT holds FROM fence)
    FOR NO KEY UPDATE SKIP LOCKED
), marked AS (
    UPDATE outbox_events e
    SET delivered_at = clock_timestamp(),
        stream = $1,
        stream_seq = d.stream_seq,
        retry_at = NULL
    FROM unnest($2::bigint[], $3::bigint[], $6::uuid[]) AS d (seq, stream_seq, id), unlocked
    WHERE e.seq = d.seq
      AND unlocked.seq = e.seq
      AND e.id = d.id
      AND e.seq = ANY ($2::bigint[])
      AND e.delivered_at IS NULL
    RETURNING e.seq
)
SELECT coalesce((SELECT holds FROM fence), false), ARRAY(SELECT seq FROM marked), ARRAY(SELECT seq FROM unlocked)
