-- The write side, in normal form. Its events are in outbox_events.
CREATE TABLE customers (
    id     bigint PRIMARY KEY,
    tenant bigint NOT NULL,
    name   text   NOT NULL
);

CREATE TABLE orders (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      bigint      NOT NULL,
    customer    bigint      NOT NULL REFERENCES customers,
    status      text        NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'shipped', 'cancelled')),
    total_cents bigint      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE order_items (
    order_id   bigint  NOT NULL REFERENCES orders,
    line       integer NOT NULL,
    product    text    NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_cents bigint  NOT NULL CHECK (unit_cents >= 0),
    PRIMARY KEY (order_id, line)
);

-- The command side's own role: it writes, and it cannot read the read models, which are in another database.
DO $$ BEGIN
    CREATE ROLE shop_command LOGIN;
EXCEPTION WHEN duplicate_object THEN
    NULL;  -- another example on this server has made it
END $$;
GRANT SELECT, INSERT, UPDATE ON customers, orders, order_items TO shop_command;
GRANT outbox_producer TO shop_command;
