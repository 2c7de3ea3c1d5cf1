-- Ends an adoption; what was copied is still sent. Names are filled in by relay.operate.adopt.
DROP TRIGGER {trigger} ON {source};
DROP FUNCTION {function}();
