-- Writes down that everything of an origin up to a seq, and everything committed up to a time, is settled here. Of one
-- origin it never falls. By primary key; at most once a second for each partition, and only if the watermark rose.
UPDATE projection.state
SET complete_seq = CASE WHEN complete_origin = $5 THEN greatest(complete_seq, $6) ELSE $6 END, complete_origin = $5,
    complete_up_to = greatest(complete_up_to, to_timestamp($7))
WHERE name = $1 AND generation = $2 AND partition = $3 AND epoch = $4
