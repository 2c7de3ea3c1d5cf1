-- What operators have done to projections, or to one, the newest first. By primary key backwards.
SELECT number, extract(epoch FROM at)::float8, who, role, name, action, what::text, events
FROM projection.audit WHERE name = $1 OR $1 IS NULL ORDER BY number DESC LIMIT $2
