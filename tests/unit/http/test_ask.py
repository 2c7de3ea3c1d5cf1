"""The question of a health check: an answer, or a fault within its time."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from relay.http.ask import get


def served(answer: Callable[[socket.socket], None]) -> int:
    """Serve one connection; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            peer.recv(4096)
            answer(peer)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_status_and_text_are_returned() -> None:
    port = served(lambda peer: peer.sendall(b"HTTP/1.0 503 Unavailable\r\nServer: x\r\n\r\npostgres down\n"))
    assert get("127.0.0.1", port, "/healthz", 5) == (503, "postgres down")


@pytest.mark.parametrize("answer", [b"", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 2x0 OK\r\n\r\n"])
def test_what_is_no_http_server_is_a_fault(answer: bytes) -> None:
    with pytest.raises(ConnectionError):
        get("127.0.0.1", served(lambda peer: peer.sendall(answer)), "/healthz", 5)


def test_a_server_that_never_ends_its_answer_is_given_up_in_time() -> None:
    ended = threading.Event()

    def trickle(peer: socket.socket) -> None:
        try:
            while not ended.wait(0.05):
                peer.sendall(b"x")
        except OSError:
            pass

    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        get("127.0.0.1", served(trickle), "/healthz", 0.5)
    ended.set()
    assert time.monotonic() - begun < 5


def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    port = served(lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 66_000))
    assert len(get("127.0.0.1", port, "/healthz", 5)[1]) < 70_000
