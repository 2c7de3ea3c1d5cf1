"""What is sent, whether it may be sent now, and what is in doubt afterwards."""
