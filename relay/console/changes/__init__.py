"""Changing many events: filter, preview, confirm exactly that, and a job that does it in batches."""
