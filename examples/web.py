"""A small HTTP server for the examples: routes by pattern, JSON in and out. Not meant for the open internet."""

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
from outbox_client.reading import NoProjection, wait_applied

WAIT_S = 0.5
"""How long a query waits for the event that it shall include."""

_MAX_BODY = 64 * 1024


class BadRequest(Exception):
    """What the client sent cannot be used; the text says why."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
        args: The parts of the path that the route names.
        query: The parameters behind the question mark.
        headers: By name.
        body: Read as JSON; None without one.
    """

    args: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """What a client gets: JSON, or a text with a content type of its own."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Route = tuple[str, str, Callable[[Request], Answer]]


class Web:
    """Serves routes on a free port of the loopback interface until it is left."""

    def __init__(self, routes: Sequence[Route]) -> None:
        known = [(method, re.compile(pattern), call) for method, pattern, call in routes]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:  # the name that http.server calls
                self._serve("GET")

            def do_POST(self) -> None:  # the name that http.server calls
                self._serve("POST")

            def log_message(self, *_: object, **__: object) -> None:
                """Log nothing: the example has a picture of its own."""

            def _serve(self, method: str) -> None:
                answer = self._answer(method)
                is_text = isinstance(answer.body, str)
                data = (answer.body if is_text else json.dumps(answer.body)).encode()
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _answer(self, method: str) -> Answer:
                parts = urlsplit(self.path)
                body = self._body()
                if body is _TOO_LARGE:
                    return Answer({"error": "the body is too large"}, 413, {"Connection": "close"})
                for route_method, pattern, call in known:
                    found = pattern.fullmatch(parts.path)
                    if found is None or route_method != method:
                        continue
                    args = {name: unquote(value) for name, value in found.groupdict().items()}
                    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                    try:
                        return call(Request(args, query, dict(self.headers), _json(body)))
                    except BadRequest as error:
                        return Answer({"error": str(error)}, error.status)
                    except (psycopg.Error, OSError):
                        return Answer({"error": "not now; send it again"}, 503, {"Retry-After": "1"})
                return Answer({"error": "there is nothing here"}, 404)

            def _body(self) -> bytes:
                length = self.headers.get("Content-Length", "0")
                if not length.isdecimal() or int(length) > _MAX_BODY:
                    self.close_connection = True
                    return _TOO_LARGE
                return self.rfile.read(int(length))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_TOO_LARGE = b"\x00"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise BadRequest("the body is not JSON") from None


def waited(conn: psycopg.Connection[Any], projection: str, token: str | None) -> bool | None:
    """Wait until a read model in PostgreSQL includes an event; None if nobody asked, False if it takes too long.

    Raises:
        BadRequest: The token is none.
    """
    if token is None:
        return None
    try:
        return wait_applied(conn, projection, token, timeout_s=WAIT_S).fresh
    except ValueError:
        raise BadRequest("Read-After is not the token of an event") from None
    except NoProjection:
        return False
