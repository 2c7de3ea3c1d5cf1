-- What a backfill would copy: how many rows are meant, how many events of those the outbox does not hold, how many of these were
-- written before the table was handed over, and how many have an id that the outbox holds with other contents. As the backfill
-- reads it: the whole foreign table, each row looked up in the outbox by two ids.
SELECT count(*), count(DISTINCT told.event), count(DISTINCT told.event) FILTER (WHERE told.handed),
       count(DISTINCT told.event) FILTER (WHERE told.held)
FROM (
    SELECT older.handed, older.held,
           CASE WHEN older.known THEN NULL WHEN older.held OR older.later THEN older.second ELSE older.id END AS event
    FROM (
{older}
    ) AS older
) AS told
