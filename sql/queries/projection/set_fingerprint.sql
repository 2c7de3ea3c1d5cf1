-- The definition was changed without another version: the new one is for new events only.
UPDATE projection.generations SET fingerprint = $3 WHERE name = $1 AND generation = $2
