"""What is written about events, and up to where everything is settled."""
