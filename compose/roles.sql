-- The relay's login, with the rights of its role alone: relay migrate grants them to the role.
CREATE ROLE outbox_relay NOLOGIN;
CREATE USER relay_login PASSWORD 'relay' IN ROLE outbox_relay;
-- The read model is somebody else's: it has a database of its own.
CREATE DATABASE read_model;
