"""The outbox in the database."""
