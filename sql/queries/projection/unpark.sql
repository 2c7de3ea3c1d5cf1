-- An event was applied or given up: it is parked no more. By primary key.
DELETE FROM projection.parked WHERE number = $1
