-- fetched_columns(most_bytes): the columns of a quick read; a row whose text has more than most_bytes comes without payload.
SELECT r.seq,
       r.id,
       r.topic,
       r.key,
       CASE WHEN octet_length(r.payload) + coalesce(octet_length(r.headers), 0) <= :most_bytes THEN r.payload END,
       CASE WHEN octet_length(r.headers) <= :most_bytes THEN r.headers END,
       r.created_at,
       r.attempts,
       r.postponed,
       0
