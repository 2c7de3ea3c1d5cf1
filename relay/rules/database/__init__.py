"""Whether the database and its table are those that a term may work with."""
