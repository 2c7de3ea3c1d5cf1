-- Those of the transactions ($1: ids) that have ended by now, committed or not. Reads no table; some 50 us.
SELECT x.xid::text::bigint
FROM unnest($1::xid8[]) AS x (xid)
WHERE pg_visible_in_snapshot(x.xid, pg_current_snapshot())
