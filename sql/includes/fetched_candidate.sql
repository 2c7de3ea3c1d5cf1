-- fetched_candidate(most_bytes): what those columns are made of, each text once; what is stored in more is not even decompressed.
    SELECT e.seq,
           e.id::text AS id,
           CASE WHEN octet_length(e.topic) <= 1000 THEN e.topic END AS topic,
           CASE WHEN octet_length(e.key) <= 1000 THEN e.key END AS key,
           CASE WHEN coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.headers), 0) <= :most_bytes
                 AND octet_length(e.topic) <= 1000
                 AND coalesce(octet_length(e.key), 0) <= 1000
                THEN convert_to(textin(jsonb_out(e.payload)), 'UTF8') END AS payload,
           CASE WHEN pg_column_size(e.headers) <= :most_bytes THEN e.headers::text END AS headers,
           date_part('epoch', e.created_at) AS created_at,
           e.attempts,
           e.retry_at > now() AS postponed
