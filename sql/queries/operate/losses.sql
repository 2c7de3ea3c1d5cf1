-- Streams with a loss that nobody has healed yet, since when, and those whose lost events were given back to be sent again
-- and that have not been seen to hold a later event since: when that was (Unix seconds). A row a stream; its table has one
-- for each stream and shard.
SELECT stream, date_part('epoch', min(lost_at)), date_part('epoch', max(repaired_at))
FROM outbox_streams
WHERE lost_at IS NOT NULL
   OR repaired_at IS NOT NULL
GROUP BY stream
ORDER BY stream
