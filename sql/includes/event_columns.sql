-- event_columns: an event as the relay sends it, but for its last column. The payload is not parsed anywhere.
       e.seq,
       e.id::text,
       e.topic,
       e.key,
       convert_to(textin(jsonb_out(e.payload)), 'UTF8'),
       e.headers::text,
       date_part('epoch', e.created_at),
       e.attempts,
