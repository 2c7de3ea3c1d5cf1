-- Deletes everything that is written down of a projection; its own tables stay. By the prefixes of the primary keys.
WITH generations AS (DELETE FROM projection.generations WHERE name = $1),
     applied AS (DELETE FROM projection.applied WHERE name = $1),
     parked AS (DELETE FROM projection.parked WHERE name = $1),
     refreshes AS (DELETE FROM projection.refreshes WHERE name = $1)
DELETE FROM projection.state WHERE name = $1
