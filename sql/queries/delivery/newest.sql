-- The newest seq that is visible. Backward scan of the primary key, one row.
SELECT coalesce((SELECT seq FROM outbox_events ORDER BY seq DESC LIMIT 1), 0)
