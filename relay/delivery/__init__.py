"""The way of an event: wake, fetch, publish, settle."""
