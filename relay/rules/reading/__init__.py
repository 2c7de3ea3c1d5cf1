"""How much is read of the outbox, and in which order."""
