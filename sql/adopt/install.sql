-- Copies each new row of a foreign table into the outbox, in the transaction that writes it. Names are filled in by
-- relay.operate.adopt. SECURITY DEFINER: the application needs no right on the outbox. The search path is fixed, so
-- that nobody's own function is called with the definer's rights. An id that the outbox holds costs a second statement, which
-- reads that row: with the same contents it is the same event. What changes the text of a value is set as well, if a column needs it.
-- About 25 us of the server for each row; a row trigger, because it is cloned to partitions and can have a condition.
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp{settings}
AS $adopt${body}$adopt$;
REVOKE ALL ON FUNCTION {function}() FROM public;
CREATE TRIGGER {trigger} AFTER INSERT ON {source} FOR EACH ROW {when}EXECUTE FUNCTION {function}();
COMMENT ON FUNCTION {function}() IS {comment};
COMMENT ON TRIGGER {trigger} ON {source} IS {comment};
