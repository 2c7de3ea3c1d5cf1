"""The stream; the only room that imports nats."""
