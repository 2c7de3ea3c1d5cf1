-- Whether the row of an event ($1), whose id is $2, can be read: every value of it is made as the reads make it, and nothing
-- of it comes but sizes (a hash reads all of the payload, while a length asks only what points to it). Fails as they do if it
-- cannot. Asked of one row, after a read of several has failed. Primary key look-up.
SELECT octet_length(sha256(convert_to(textin(jsonb_out(e.payload)), 'UTF8'))), octet_length(e.headers::text), length(e.topic), length(e.key)
FROM outbox_events e
WHERE e.seq = $1
  AND e.id = $2::uuid
