"""Run the console: check its settings, listen, say where it is, and serve until told to stop."""

import contextlib
import ctypes
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn

from relay.console.access.setup import setup_faults
from relay.console.app import build
from relay.console.connections import Connection, Limited
from relay.errors import ConfigError
from relay.observe.logs import configure
from relay.observe.logs import event as log_event
from relay.operate.access import check_addresses
from relay.operate.changes import Tell
from relay.stop_signals import stop_on_signals

if TYPE_CHECKING:
    from relay.config.console_section import ConsoleSection
    from relay.config.settings import Settings

log = logging.getLogger(__name__)

_SHUTDOWN_S = 5
# mallopt(3): blocks from this size on are mapped for themselves, and the size does not grow by itself any more.
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024
_IDLE_CONNECTION_S = 30


def serve(settings: "Settings", tell: Tell) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        tell: Called with the address once the console listens; with ``auth = "link"`` it lets in.

    Raises:
        ConfigError: The settings are wrong, or the address cannot be listened on.
    """
    faults = setup_faults(settings.console)
    if faults:
        raise ConfigError(faults)
    check_addresses(settings)
    configure(settings.log.format, settings.log.level)
    _return_large_memory()
    listener = _listen(settings.console)
    port = int(listener.getsockname()[1])
    settings = settings.model_copy(update={"console": settings.console.model_copy(update={"port": port})})
    app, entry = build(settings)
    config = uvicorn.Config(
        Limited(app),
        http=Connection,
        # What a proxy says is believed by our own rules alone.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        lifespan="on",
        ws="none",
        h11_max_incomplete_event_size=64 * 1024,
        timeout_keep_alive=_IDLE_CONNECTION_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config)
    stop_on_signals(server.end)
    address = f"http://{_shown(settings.console.host)}:{port}{settings.console.base_path}/"
    tell(f"{address}?key={entry.key}" if settings.console.auth == "link" else address)
    log_event(log, "info", "console.started", "the console answers", port=port, write=settings.console.write)
    with listener:
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that leaves signals to us: by itself it raises them again at its end, which sets the exit code."""

    _is_wanted_to_end = False

    def end(self) -> None:
        """End after the answers that are on their way; also if it has not begun yet."""
        self._is_wanted_to_end = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; asked ten times a second."""
        return await super().on_tick(counter) or self._is_wanted_to_end

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change no handler."""
        yield


def _return_large_memory() -> None:
    """Have memory for large values go back to the system when they are gone.

    By default glibc keeps it for the next one once a large block was freed, for each thread: after some payloads of a
    megabyte that was 50 MB. Other C libraries do not know the call, and do not need it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def _listen(section: "ConsoleSection") -> socket.socket:
    family = socket.AF_INET6 if ":" in section.host else socket.AF_INET
    try:
        return socket.create_server((section.host, section.port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError([f"[console] cannot listen on {section.host} port {section.port}: {reason}"]) from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
