-- Which version of sql/projection.sql was run here, in the comment of the schema; null if none was, or the first one.
SELECT (regexp_match(obj_description(to_regnamespace('projection')::oid, 'pg_namespace'), 'layout (\d+)'))[1]::integer
