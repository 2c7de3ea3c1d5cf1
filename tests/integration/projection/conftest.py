"""Fixtures of these tests."""

from tests.integration.projection.fix_runner import events, running

__all__ = ["events", "running"]
