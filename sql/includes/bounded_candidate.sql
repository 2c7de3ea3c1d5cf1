-- bounded_candidate: what bounded_rows needs of an event of ours.
       e.seq, e.id, e.topic, e.key, e.payload, e.headers, e.created_at, e.attempts, e.retry_at, true AS ours,
       (coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0))::bigint AS stored
