-- Whether the table of events is there, and whether there is a relation of the name $1, from the catalogue.
SELECT to_regclass('outbox_events') IS NOT NULL, to_regclass($1) IS NOT NULL
