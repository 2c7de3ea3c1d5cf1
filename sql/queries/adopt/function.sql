-- The triggers that run the function $1, which is named as in SQL with its brackets: whether each is on the table $2, its name, and its
-- table; nulls if none runs it, and no row if there is no such function. By the catalogue of triggers.
SELECT t.tgrelid = to_regclass($2), t.tgname::text, t.tgrelid::regclass::text
FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
WHERE p.oid = to_regprocedure($1)
