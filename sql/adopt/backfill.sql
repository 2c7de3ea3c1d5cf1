-- Copies the rows that were there before, oldest first; a row that was copied already is left. One statement, because
-- later rows of a key must come behind. Reads the whole foreign table.
INSERT INTO {outbox} ({columns})
SELECT {values} FROM {source} AS new {where}{order}
ON CONFLICT (id) DO NOTHING
