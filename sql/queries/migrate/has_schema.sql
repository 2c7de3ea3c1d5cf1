-- Whether a schema is there, by its name.
SELECT to_regnamespace($1) IS NOT NULL
