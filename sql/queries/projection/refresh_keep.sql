-- Deletes the rows of views that a projection no longer refreshes. By the prefix of the primary key; once for each start.
-- One that another runner refreshes right now is left: the start waits for no refresh.
DELETE FROM projection.refreshes
WHERE (name, generation, view) IN (
    SELECT name, generation, view FROM projection.refreshes
    WHERE name = $1 AND generation = $2 AND NOT view = ANY ($3) FOR UPDATE SKIP LOCKED
)
