"""What a failure means, whom it stops, and when it is tried again."""
