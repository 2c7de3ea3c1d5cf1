"""What the relay says of itself: logs, metrics, a snapshot."""
