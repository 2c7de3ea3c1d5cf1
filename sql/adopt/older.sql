    SELECT made.*, kept.id IS NOT NULL AS held,
           first_value(made.second) OVER (PARTITION BY made.id ORDER BY made.place) <> made.second AS later,
           coalesce(kept.same, false) OR EXISTS (SELECT FROM {outbox} AS own WHERE own.id = made.second) AS known
    FROM (
        SELECT made.*, {second} AS second
        FROM (SELECT {named}, {place} AS place, {handed} AS handed FROM {source} AS new {where}) AS made
    ) AS made
    LEFT JOIN LATERAL (
        SELECT kept.id, {same} AS same FROM {outbox} AS kept WHERE kept.id = made.id LIMIT 1
    ) AS kept ON true
