-- The publication $1, if there is one: whether it is of all tables, whose it is, and how many tables it names.
SELECT puballtables, pg_has_role(pubowner, 'USAGE'), pg_get_userbyid(pubowner)::text,
       (SELECT count(*) FROM pg_publication_rel r WHERE r.prpubid = p.oid)
FROM pg_publication p WHERE pubname = $1
