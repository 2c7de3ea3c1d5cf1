-- The time by the database's clock, which every stored time follows; Unix seconds.
SELECT date_part('epoch', clock_timestamp())
