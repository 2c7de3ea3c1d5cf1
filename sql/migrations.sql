-- What stands in this database already; made before the first migration.
CREATE TABLE IF NOT EXISTS outbox_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
