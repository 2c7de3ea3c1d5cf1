-- Copies the rows that were there before, in the order of a column that somebody has named or a sequence has filled: a heap
-- whose rows are deleted has none. A row that was copied already is left. One statement, because later rows of a key must
-- come behind. Reads the whole foreign table.
INSERT INTO {outbox} ({columns})
SELECT {values} FROM {source} AS new {where}{order}
ON CONFLICT (id) DO NOTHING
