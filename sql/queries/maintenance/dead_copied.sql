-- Write down that the dead letter $1, which died at $2 (Unix seconds), was published to the subject for dead letters;
-- not if the operator has retried it meanwhile. No fence: whichever relay published it, it was published. Its id is $3.
-- If somebody else has locked the row it is left as it is, and the copy is made again (docs/design/bounds.md).
UPDATE outbox_events
SET dead_copied_at = clock_timestamp()
WHERE seq = (SELECT o.seq FROM outbox_events o WHERE o.seq = $1 FOR NO KEY UPDATE SKIP LOCKED)
  AND id = $3::uuid
  AND date_part('epoch', dead_at) = $2::float8
