"""One replica, and a term of its work."""
