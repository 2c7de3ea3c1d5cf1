"""The settings, and what the parts get of them."""
