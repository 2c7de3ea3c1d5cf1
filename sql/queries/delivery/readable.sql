-- How many bytes the row of an event ($1), whose id is $2, has for what the application wrote: every value of it is made as
-- the reads make it, and nothing of it comes but sizes (a hash reads all of the payload, while a length asks only what points
-- to it). Fails as the reads do if PostgreSQL cannot read it. Asked of one row, after a read of several has failed, and before
-- one that was not read becomes a dead letter. Primary key look-up.
SELECT octet_length(e.body)::bigint + coalesce(octet_length(e.head), 0) + octet_length(e.topic) + coalesce(octet_length(e.key), 0),
       octet_length(sha256(e.body)), length(e.topic), length(e.key)
FROM (
    SELECT convert_to(textin(jsonb_out(e.payload)), 'UTF8') AS body, e.headers::text AS head, e.topic, e.key
    FROM outbox_events e
    WHERE e.seq = $1
      AND e.id = $2::uuid
    OFFSET 0
) e
