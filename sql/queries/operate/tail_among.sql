-- Those of the events $1 (seqs) that are visible, by the filters $2 (regular expression of the topic) and $3 (key).
-- Primary key look-ups: its cost follows the number of seqs.
SELECT
-- include: listed_columns
       e.last_error
FROM outbox_events e
WHERE e.seq = ANY ($1::bigint[])
  AND ($2::text IS NULL OR e.topic ~ $2::text)
  AND ($3::text IS NULL OR e.key = $3::text)
