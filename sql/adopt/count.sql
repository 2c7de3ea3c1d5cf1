-- What a backfill would copy: how many rows are meant, how many of those the outbox does not hold, and how many of these were
-- written before the table was handed over. Reads the whole foreign table, and looks each row up in the outbox by its id.
SELECT count(*), count(*) FILTER (WHERE older.lacking), count(*) FILTER (WHERE older.lacking AND older.handed)
FROM (
    SELECT NOT EXISTS (SELECT FROM {outbox} AS kept WHERE kept.id = {id}) AS lacking, {handed} AS handed
    FROM {source} AS new {where}
) AS older
