-- outline_columns: an event without payload, headers and time.
       e.seq,
       e.id::text,
       e.topic,
       e.key,
       ''::bytea,
       NULL,
       0::float8,
       e.attempts,
       e.retry_at > now()
