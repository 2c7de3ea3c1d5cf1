CREATE TABLE orders (
    order_id      bigint      PRIMARY KEY,
    tenant_id     bigint      NOT NULL,
    customer_id   bigint      NOT NULL,
    customer_name text        NOT NULL,
    total_cents   bigint      NOT NULL,
    status        text        NOT NULL,
    item_count    integer     NOT NULL,
    created_at    timestamptz NOT NULL,
    event_seq     bigint      NOT NULL,
    updated_at    timestamptz NOT NULL
);
-- The order of a page: newest first, ties by number.
CREATE INDEX orders_of_tenant ON orders (tenant_id, created_at DESC, order_id DESC);

CREATE MATERIALIZED VIEW order_daily_summary AS
SELECT tenant_id, (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS orders, sum(total_cents)::bigint AS total_cents,
       count(*) FILTER (WHERE status = 'cancelled') AS cancelled
FROM orders GROUP BY 1, 2;
-- CONCURRENTLY needs it.
CREATE UNIQUE INDEX ON order_daily_summary (tenant_id, day);

CREATE MATERIALIZED VIEW customer_lifetime_value AS
SELECT tenant_id, customer_id, count(*) AS orders, sum(total_cents)::bigint AS total_cents
FROM orders WHERE status <> 'cancelled' GROUP BY 1, 2;
CREATE UNIQUE INDEX ON customer_lifetime_value (tenant_id, customer_id);
