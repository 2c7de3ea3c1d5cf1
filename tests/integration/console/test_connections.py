"""Whoever reaches the port and says nothing, or half of something, keeps nobody else out and leaves no traceback."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.fix_console import Console, MakeConsole

HALF = {
    "nothing": "",
    "half of a head": "GET / HTTP/1.1\r\nHost: {host}\r\n",
    "half of a body": "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\nto",
}
BROKEN = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connected(console: Console, opened: ExitStack, text: str) -> socket.socket:
    host, _, port = console.host.rpartition(":")
    one = opened.enter_context(socket.create_connection((host, int(port)), timeout=40))
    one.sendall(text.format(host=console.host, path="/login", cookie=console.cookie or "").encode())
    return one


def is_closed(one: socket.socket) -> bool:
    """Wait for the end of a connection, whatever is answered before."""
    with suppress(ConnectionResetError):
        while one.recv(10_000):
            pass
    return True


@pytest.mark.parametrize("said", HALF.values(), ids=HALF)
def test_silent_connections_keep_nobody_out(
    database: str, nats: str, make_console: MakeConsole, opened: ExitStack, said: str
) -> None:
    console = make_console(database, nats).enter()
    silent = [connected(console, opened, said) for _ in range(300)]
    for _ in range(3):
        assert console.get("/healthz").status == 200
        assert console.get("/about").status == 200
    assert is_closed(silent[0]), "the oldest makes room"


def test_a_request_has_to_arrive_whole_in_time(
    database: str, nats: str, make_console: MakeConsole, opened: ExitStack
) -> None:
    console = make_console(database, nats).enter()
    assert all(is_closed(one) for one in [connected(console, opened, said) for said in HALF.values()])
    assert console.get("/healthz").status == 200


@pytest.mark.parametrize("entered", [True, False])
@pytest.mark.parametrize("path", ["/doctor", "/login", "/"])
def test_a_body_that_is_no_http_leaves_no_traceback(
    database: str, nats: str, make_console: MakeConsole, opened: ExitStack, path: str, entered: bool
) -> None:
    console = make_console(database, nats)
    if entered:
        console.enter()
    for rest in ("zz\r\n", "5\r\nabcdefgh\r\nzz", "5\r\nab"):
        one = connected(console, opened, BROKEN.replace("{path}", path) + rest)
        one.shutdown(socket.SHUT_WR)
        one.close()
    late = connected(console, opened, BROKEN.replace("{path}", path))
    late.settimeout(0.3)
    with suppress(TimeoutError):
        late.recv(100)  # some are answered before their body has come
    late.sendall(b"zz\r\n")
    # The fixture looks for tracebacks once the console has ended.
    assert console.get("/healthz").status == 200
