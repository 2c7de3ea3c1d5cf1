-- What the query side may do: read the model, and how far it is. It cannot write, and cannot see the write side, which is
-- in another database.
GRANT USAGE ON SCHEMA order_list, projection TO shop_query;
GRANT SELECT ON ALL TABLES IN SCHEMA order_list TO shop_query;
GRANT SELECT ON projection.generations, projection.state, projection.applied, projection.refreshes TO shop_query;
GRANT SELECT (number, name, generation, partition, key, origin, seq, reason) ON projection.parked TO shop_query;
