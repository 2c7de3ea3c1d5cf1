"""Metrics and probes over HTTP, from a thread of their own: they answer also when the event loop is stuck."""

import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from relay.errors import ConfigError
from relay.observe.exposition import Family, write

log = logging.getLogger(__name__)

_TEXT = "text/plain; charset=utf-8"


class Probes(Protocol):
    """What the probes are answered from; asked by other threads than the loop's."""

    def health_faults(self) -> Sequence[str]:
        """Return why the process should be restarted, nothing if it should not."""

    def ready_faults(self) -> Sequence[str]:
        """Return why it cannot do its work at this moment, a line for each reason."""

    def standing(self) -> str:
        """Return what it does, in a word or two, and what is wrong beside, for an answer without a fault."""


class HttpServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``.

    Args:
        host: Address to listen on.
        port: 0 takes a free one.
        metrics: Makes what ``/metrics`` shows; called by other threads than the loop's.
        section: Of the settings, for the fault of an address that cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[], Iterable[Family]],
        probes: Probes,
        *,
        section: str = "http",
    ) -> None:
        self._address = (host, port)
        self._metrics = metrics
        self._probes = probes
        self._section = section
        self._server: _Server | None = None

    def start(self) -> int:
        """Listen, and answer from now on.

        Returns:
            The port.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._server = _Server((host, port), _Handler, family, self._answer)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError([f"[{self._section}] cannot listen on {host} port {port}: {reason}"]) from None
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="http", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Listen no more. Stopping twice, or before the start, does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body."""
        match path.partition("?")[0]:
            case "/metrics":
                return HTTPStatus.OK, *write(self._metrics(), accept)
            case "/healthz":
                return _verdict(self._probes.health_faults(), "ok")
            case "/readyz":
                return _verdict(self._probes.ready_faults(), f"ready: {self._probes.standing()}")
            case _:
                return HTTPStatus.NOT_FOUND, _TEXT, b"there is /metrics, /healthz and /readyz\n"


def _verdict(faults: Sequence[str], good: str) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
    return status, _TEXT, ("\n".join(faults or [good]) + "\n").encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        family: socket.AddressFamily,
        answer: Callable[[str, str], tuple[HTTPStatus, str, bytes]],
    ) -> None:
        self.answer = answer
        self.address_family = family
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of our own name, which may wait for a resolver."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over peers that hang up; what else goes wrong in an answer is logged."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("an answer over HTTP failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds for a peer that says nothing
    server_version = "outbox-relay"
    sys_version = ""

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def _reply(self, *, with_body: bool) -> None:
        status, content_type, body = self.server.answer(self.path, self.headers.get("Accept", ""))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log no probe and no scrape."""
