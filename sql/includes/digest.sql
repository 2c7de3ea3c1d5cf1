-- digest(most_bytes): SHA-256 of what of an event is sent, in hex (relay/rules/reading/row_unchanged.py makes it the same way). Null if the row is
-- stored in more than `most_bytes`: it is not read then. 2 ms a MiB of payload.
       CASE WHEN pg_column_size(e.topic) + pg_column_size(e.payload) + coalesce(pg_column_size(e.headers), 0) <= :most_bytes
            THEN encode(sha256(
                convert_to(e.topic, 'UTF8') || '\x00'::bytea
                || coalesce(convert_to(e.headers::text, 'UTF8'), '\x01'::bytea) || '\x00'::bytea
                || convert_to(textin(jsonb_out(e.payload)), 'UTF8')
            ), 'hex') END
