-- The publication $1, if there is one: whether it is of all tables, whose it is and whether that is a superuser or may become one, and how many tables it names.
SELECT puballtables, pg_has_role(pubowner, 'USAGE'), pg_get_userbyid(pubowner)::text,
       EXISTS (SELECT FROM pg_roles s WHERE s.rolsuper AND pg_has_role(pubowner, s.oid, 'MEMBER')),
       (SELECT count(*) FROM pg_publication_rel r WHERE r.prpubid = p.oid)
FROM pg_publication p WHERE pubname = $1
