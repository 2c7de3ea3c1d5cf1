-- outline_columns: an event without payload, headers and time, and with the beginning of a large topic or key alone.
       e.seq,
       e.id::text,
       CASE WHEN octet_length(e.topic) <= 4096 THEN e.topic ELSE left(e.topic, 200) END,
       CASE WHEN octet_length(e.key) <= 4096 THEN e.key ELSE left(e.key, 200) END,
       ''::bytea,
       NULL,
       0::float8,
       e.attempts,
       e.retry_at > now()
