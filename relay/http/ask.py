"""Ask an HTTP server one small question. The standard library's client would cost a health check twice its memory."""

import socket
import time

_ANSWER_BYTES = 65_536
_PORTION_BYTES = 4096


def get(host: str, port: int, path: str, timeout_s: float) -> tuple[int, str]:
    """Return the status and the text of a page.

    Args:
        timeout_s: For the whole of it.

    Raises:
        OSError: Nobody answers in time, or what answers is no HTTP server.
    """
    deadline = time.monotonic() + timeout_s
    answer = b""
    with socket.create_connection((host, port), timeout=timeout_s) as peer:
        peer.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        while len(answer) < _ANSWER_BYTES:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            peer.settimeout(left_s)
            portion = peer.recv(_PORTION_BYTES)
            if not portion:
                break
            answer += portion
    head, _, body = answer.partition(b"\r\n\r\n")
    match head.split(b"\r\n", 1)[0].split(None, 2):
        case [protocol, status, *_] if protocol.startswith(b"HTTP/1.") and len(status) == 3 and status.isdigit():
            return int(status), body.decode("utf-8", "replace").strip()
        case _:
            raise ConnectionError("what answers there is no HTTP server")
