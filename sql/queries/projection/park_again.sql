-- An event was refused again. By primary key.
UPDATE projection.parked SET reason = $2, wanted = NULL WHERE number = $1
