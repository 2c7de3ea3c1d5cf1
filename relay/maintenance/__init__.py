"""What one relay does for all of them."""
