-- How many events are parked, by key; read once for each claim. At most 1,000 rows are ever parked.
SELECT key, count(*) FROM projection.parked WHERE name = $1 AND generation = $2 AND partition = $3 GROUP BY key
