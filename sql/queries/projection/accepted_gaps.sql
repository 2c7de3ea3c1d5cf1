-- The first and the last sequence of each gap that an operator, or `partial = true` at the begin, has accepted. A few lines of the audit.
SELECT (gap->>0)::bigint, (gap->>1)::bigint
FROM projection.audit a, jsonb_array_elements(a.what->'gaps') gap
WHERE a.name = $1 AND a.action IN ('resume', 'begin')
