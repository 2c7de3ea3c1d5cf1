"""Run one replica: log, HTTP, signals, and the exit code."""

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

from relay.daemon.replica import Replica
from relay.http.health import RelayProbes
from relay.http.server import HttpServer
from relay.observe.logs import configure
from relay.postgres.tables import read_ahead
from relay.stop_signals import stop_loop_on_signals

if TYPE_CHECKING:
    from relay.config.settings import Settings

log = logging.getLogger(__name__)

# What a relay asks PostgreSQL in all its life.
QUERIES = ("adopt", "connection", "delivery", "doorbell", "integrity", "maintenance", "migrate", "ownership")


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Pass over what the client library's own tasks say of a connection that was thrown away; we know it is lost."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.debug("a task of a lost connection ended: %s", error)
    else:
        loop.default_exception_handler(context)


async def serve(settings: "Settings") -> int:
    """Run the daemon until it is told to stop, and return the exit code.

    Raises:
        SchemaError: The outbox is not in the database, or in another version.
        OSError: The HTTP port cannot be had.
    """
    configure(settings.log.format, settings.log.level)
    read_ahead(QUERIES)
    # Nothing on the way of an event makes cycles: look for them less often, and not at all in what was imported.
    # Worth 5 % of a drain.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    daemon = Replica(settings)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_loop_error)
    stop_loop_on_signals(daemon.stop)
    server = None
    if settings.http.enabled:
        probes = RelayProbes(daemon.snapshot)
        server = HttpServer(settings.http.host, settings.http.port, daemon.metrics.collect, probes)
        server.start()
    observing = asyncio.create_task(daemon.observe())
    try:
        return await daemon.run()
    finally:
        observing.cancel()
        if server is not None:
            server.stop()
