-- The write side. Idempotency keys are in outbox_commands (outbox_client.commands), the events in outbox_events.
CREATE TABLE measurements (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device         text        NOT NULL,
    region         text        NOT NULL,
    temperature_mc integer     NOT NULL,  -- thousandths of a degree: sums of integers do not depend on their order
    humidity_mp    integer     NOT NULL,  -- thousandths of a percent
    measured_at_ms bigint      NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT now()
);
