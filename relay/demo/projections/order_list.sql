CREATE TABLE orders (
    number      bigint PRIMARY KEY,
    customer    text   NOT NULL,
    item        text   NOT NULL,
    total_cents bigint NOT NULL
);
