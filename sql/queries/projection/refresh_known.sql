-- Returns what decides whether a view is refreshed, once its row is taken (refresh_take): one row.
-- What was applied and is complete is read here, before REFRESH takes its snapshot: all of that will be in the view.
-- By primary key; once for each look at the view, at most every second.
SELECT extract(epoch FROM clock_timestamp() - r.refreshed_at)::float8 AS age_s,
       coalesce(r.took_s, 0) AS took_s,
       extract(epoch FROM r.retry_at - clock_timestamp())::float8 AS retry_in_s,
       s.applied IS DISTINCT FROM r.applied AS is_changed,
       coalesce((SELECT relispopulated FROM pg_class c
                 WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relname = $3), true) AS is_populated,
       r.failures,
       s.applied,
       s.complete_up_to
FROM projection.refreshes r
CROSS JOIN LATERAL (
    SELECT sum(p.applied)::bigint AS applied,
           CASE WHEN bool_and(p.complete_up_to IS NOT NULL) THEN min(p.complete_up_to) END AS complete_up_to
    FROM projection.state p
    WHERE p.name = r.name AND p.generation = r.generation
) s
WHERE r.name = $1 AND r.generation = $2 AND r.view = $3
