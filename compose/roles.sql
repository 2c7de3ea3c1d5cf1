-- The shop inserts events and reads none, the relay has the rights of its role alone: relay migrate grants them.
CREATE ROLE outbox_producer NOLOGIN;
CREATE ROLE outbox_relay NOLOGIN;
CREATE USER shop PASSWORD 'shop' IN ROLE outbox_producer;
CREATE USER relay_login PASSWORD 'relay' IN ROLE outbox_relay;
-- The console looks with one login and changes with another.
CREATE ROLE outbox_reader NOLOGIN;
CREATE USER console_login PASSWORD 'console' IN ROLE outbox_reader;
CREATE USER console_operator PASSWORD 'operator' IN ROLE outbox_relay;
-- The shop's own tables are beside the outbox, its read model is elsewhere.
GRANT CREATE ON SCHEMA public TO shop;
CREATE DATABASE read_model OWNER shop;
