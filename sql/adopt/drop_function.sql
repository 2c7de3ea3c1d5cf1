-- Drops what is left of an adoption whose table or trigger is gone.
DROP FUNCTION {function}()
