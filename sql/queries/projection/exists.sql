-- Whether the tables of the projections are in this database. A look into the catalogue; once for each start.
SELECT to_regclass('projection.parked') IS NOT NULL
