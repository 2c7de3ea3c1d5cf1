"""The outbox and its streams agree, or are made to."""
