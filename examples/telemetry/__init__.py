"""Devices send measurements; statistics of each device in Redis, totals of each region in PostgreSQL."""
