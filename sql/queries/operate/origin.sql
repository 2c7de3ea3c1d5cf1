-- The histories that the seqs of the outbox belong to, as relay/rules/database/origins.py reads them. A few rows.
SELECT string_agg(above || ':' || origin, ',' ORDER BY above) FROM outbox_origin
