CREATE TABLE totals (
    region             text        PRIMARY KEY,
    count              bigint      NOT NULL,
    sum_temperature_mc bigint      NOT NULL,
    sum_humidity_mp    bigint      NOT NULL,
    event_seq          bigint      NOT NULL,
    updated_at         timestamptz NOT NULL
);
