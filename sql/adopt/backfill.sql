-- Copies the rows that were there before, in the order of a column that somebody has named or a sequence has filled: a heap
-- whose rows are deleted has none. A row that was copied already is left: its id is held with the same contents, or its second
-- id is held. An id that is held with other contents, or comes a second time with others, becomes the second id. One statement,
-- because later rows of a key must come behind. Reads the whole foreign table, and looks each row up in the outbox by two ids.
INSERT INTO {outbox} ({columns})
SELECT CASE WHEN older.held OR older.later THEN older.second ELSE older.id END, {others}
FROM (
{older}
) AS older
WHERE NOT older.known{order}
ON CONFLICT (id) DO NOTHING
