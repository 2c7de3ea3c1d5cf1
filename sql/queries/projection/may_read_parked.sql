-- Whether this login may read what projections of this database have parked. One row.
SELECT CASE WHEN to_regnamespace('projection') IS NULL THEN false
            WHEN NOT has_schema_privilege('projection', 'USAGE') THEN false
            ELSE has_table_privilege('projection.parked', 'SELECT') END
