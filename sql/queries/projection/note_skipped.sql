-- Writes down that the event of origin $4 and seq $5 was given up: settled, and not in the model. By primary key, in the
-- transaction that gives it up, once for each such event.
UPDATE projection.applied
SET skipped = set_bit(coalesce(skipped, decode(repeat('00', 1024), 'hex')), ($5::bigint % 8192)::integer, 1)
WHERE name = $1 AND generation = $2 AND partition = $3 AND origin = $4 AND chunk = $5::bigint / 8192
