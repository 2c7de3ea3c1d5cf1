-- What the owners of the shards last saw of each stream, as far as it concerns a comparison. A row a stream.
SELECT stream,
       min(created),
       min(first_seq),
       coalesce(date_part('epoch', max(begun_at)), 0),
       bool_or(lost_at IS NOT NULL)
FROM outbox_streams
GROUP BY stream
ORDER BY stream
