-- Keeps every partition of a projection from being claimed, until the end of the transaction. By primary key.
SELECT FROM projection.state WHERE name = $1 FOR UPDATE
