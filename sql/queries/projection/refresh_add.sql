-- Makes the row of a view that the live model of a projection refreshes; changes nothing if it is there.
-- By primary key; once for each look at the view.
INSERT INTO projection.refreshes (name, generation, view, every_s)
SELECT g.name, g.generation, $3, $4 FROM projection.generations g WHERE g.name = $1 AND g.generation = $2
ON CONFLICT (name, generation, view) DO NOTHING
