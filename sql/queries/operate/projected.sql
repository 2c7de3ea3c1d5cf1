-- Delivered events above seq $1 up to seq $2 that stream $3 holds up to sequence $4: a projection that has read so far
-- has settled all of them; and those that another stream has got. A range of the primary key, 8,192 seqs each.
SELECT seq, topic, key, stream_seq, stream FROM outbox_events
WHERE seq > $1 AND seq <= $2 AND delivered_at IS NOT NULL AND (stream <> $3 OR stream_seq <= $4)
ORDER BY seq
