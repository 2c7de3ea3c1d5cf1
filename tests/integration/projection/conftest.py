"""Fixtures of these tests."""

from tests.integration.projection.fix_redis import run, world
from tests.integration.projection.fix_runner import events, running

__all__ = ["events", "run", "running", "world"]
