-- The materialised views that projections refresh, or one, and how old they are. As many rows as there are views.
SELECT name, generation, view, every_s, extract(epoch FROM refreshed_at)::float8 AS refreshed_at, took_s,
       extract(epoch FROM complete_up_to)::float8 AS complete_up_to, failures, error
FROM projection.refreshes
WHERE name = $1 OR $1 IS NULL
ORDER BY name, generation, view
