-- The holder of the bell is still here: the server ends its session otherwise.
SELECT
