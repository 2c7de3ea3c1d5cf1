-- listed_columns: an event in any state as an operator lists it, but for its last column, last_error.
       e.seq,
       e.id::text,
       e.topic,
       e.key,
       CASE
           WHEN e.delivered_at IS NOT NULL THEN 'delivered'
           WHEN e.discarded_at IS NOT NULL THEN 'discarded'
           WHEN e.dead_at IS NOT NULL THEN 'dead'
           WHEN e.retry_at IS NOT NULL THEN 'retry'
           ELSE 'pending'
       END,
       date_part('epoch', e.created_at),
       date_part('epoch', e.delivered_at),
       e.stream,
       e.stream_seq,
       e.attempts,
       date_part('epoch', e.retry_at),
       date_part('epoch', e.dead_at),
