-- The publication $1, if there is one, and whose it is.
SELECT pubname, puballtables, pg_has_role(pubowner, 'USAGE'), pg_get_userbyid(pubowner)::text
FROM pg_publication WHERE pubname = $1
