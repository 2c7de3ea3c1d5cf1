"""Run projections as a process of their own: metrics and probes over HTTP, and the end by a signal."""

import asyncio
import gc
from collections.abc import Sequence

from relay.config.settings import Settings
from relay.http.projection_health import ProjectionProbes
from relay.http.server import HttpServer
from relay.observe.logs import keep_up
from relay.observe.projection_metrics import ProjectionMetrics
from relay.projection.definition import Definition
from relay.projection.service import run_watched
from relay.projection.store import read_ahead
from relay.stop_signals import stop_loop_on_signals

_TURN_S = 0.25


async def serve(definitions: Sequence[Definition], settings: Settings) -> None:
    """Keep projections up to date until SIGTERM or SIGINT.

    Raises:
        ConfigError: A definition or a setting has a fault, the tables are of another version, or the port is taken.
    """
    # Nothing on the way of an event makes cycles: look for them less often, and not at all in what was imported.
    # By default a batch that is kept while it is read has the collector look through it again and again: half the time
    # of reading an event.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    read_ahead()
    metrics = ProjectionMetrics(settings.consumers.objective_s)
    http = settings.projection_http
    server = None
    if http.enabled:
        probes = ProjectionProbes(metrics)
        server = HttpServer(http.host, http.port, metrics.collect, probes, section="projection_http")
        server.start()
    turning = asyncio.create_task(_turn(metrics))
    work = asyncio.create_task(run_watched(definitions, settings, metrics))
    stop_loop_on_signals(work.cancel)
    try:
        await asyncio.wait([work])
        if not work.cancelled():
            work.result()
    finally:
        turning.cancel()
        if server is not None:
            server.stop()


async def _turn(metrics: ProjectionMetrics) -> None:
    """Note a few times a second that the event loop turns."""
    while True:
        metrics.turn()
        keep_up()
        await asyncio.sleep(_TURN_S)
