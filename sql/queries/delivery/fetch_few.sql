-- The next pending rows above the cursor ($1), 64 at most, in the order of seq, for a relay that owns every shard; as fetch.sql
-- reads them, with $2 for its $6. What wakes a relay that sleeps is few rows: here planning would be half of the time, so this
-- statement has a name, and is planned once a session: the planner cannot look into the sub-select, so that planning again
-- for the very cursor never seems to pay. Index scan of the primary key, whatever the table was like when it was planned:
-- connection/plan_once.sql sees to that.
-- include: fetched_columns($2)
FROM (
-- include: fetched_candidate($2)
    FROM outbox_events e
    WHERE e.seq > (SELECT $1::bigint)
      AND e.delivered_at IS NULL
      AND e.dead_at IS NULL
    ORDER BY e.seq
    LIMIT 64
) r
ORDER BY r.seq
