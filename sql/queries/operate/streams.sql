-- What the owners of the shards last saw of each stream, as far as it concerns a comparison; if they differ, what
-- takes the least as repaired: one has a loss left open, or has not looked yet. A row a stream.
SELECT stream,
       min(created),
       min(first_seq),
       min(coalesce(date_part('epoch', begun_at), 0)),
       bool_or(lost_at IS NOT NULL)
FROM outbox_streams
GROUP BY stream
ORDER BY stream
