"""A runner in a thread of the test, and the stream it reads."""

import asyncio
import importlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.config.settings import Settings, load
from relay.projection import Definition, Projection, run
from tests.integration.projection.world import Events
from tests.support import forks
from tests.support.fix_stream import Streams

# Loaded here, and not by the thread of a runner when it needs it: CPython 3.11 may fail if two threads compile at once
# ("AST constructor recursion depth mismatch"), as in the first run of a checkout beside pytest's own imports.
importlib.import_module("relay.projection.in_redis.service")


class Running:
    """Projections in an event loop of their own, until `stop`."""

    def __init__(self, projections: list[Any], settings: Settings | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, args=(projections, settings))
        self._thread.start()

    def _run(self, projections: list[Any], settings: Settings | None) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(run(projections, settings))
        try:
            self._loop.run_until_complete(asyncio.wait([self._task]))
        finally:
            self._loop.close()

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Cancel it, and wait for its end."""
        if self._thread.is_alive() and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._task is not None and not self._task.cancelled():
            self._task.result()


@contextmanager
def run_by_command(
    dsn: str, url: str, *sources: str | Path, log: Path = Path(os.devnull), **environ: str
) -> Iterator[None]:
    """Run projections in a process of their own, which must end well once it is told to."""
    arguments = ["projection", "run", *map(str, sources), "--server", url]
    environ = {"RELAY_POSTGRES__DSN": dsn, "PATH": "", "RELAY_PROJECTION_HTTP__PORT": "0", **environ}
    process = forks.start(forks.Start("relay", arguments, str(log), environ, str(Path.cwd())))
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
    assert status == 0


Run = Callable[..., Running]


@pytest.fixture
def running() -> Iterator[Run]:
    """Run projections: ``running(dsn, nats_url, definition)``; all are stopped at the end."""
    made: list[Running] = []

    def start(dsn: str, url: str, *projections: type[Projection] | Definition) -> Running:
        settings = load(None, {"postgres.dsn": dsn, "nats.servers": tuple(url.split(","))}, environ={})
        made.append(Running(list(projections), settings))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def events(streams: Streams, nats: str) -> Events:
    """The events of the session's server; no stream is there yet."""
    return Events(streams, nats)
