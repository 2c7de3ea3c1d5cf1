-- What the table of events is, and the type of each of its columns, that of a domain being the one it is over; no row if the
-- table does not exist, one without a name if it has no column. Asked before there are beats, which say it as well.
WITH RECURSIVE
-- include: columns
-- Without quotes: quote_all_identifiers may be on behind a pooler.
SELECT kind::text, name::text, replace(format_type(oid, NULL), '"', '') FROM found WHERE base = 0 OR name IS NULL
