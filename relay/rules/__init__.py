"""Decides; no I/O, no clock, no asyncio."""
