"""A core subscriber in a process of its own: notes when each event arrives, by the clock that all processes share.

It reads a socket and nothing else, and looks at the clock before it looks at what it has read. So its figures end at
the subscriber's process: what a client library takes to hand a message on, after a rest a fifth of a millisecond in
Python, is the subscriber's own.
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

_ID = b"Nats-Msg-Id:"
_READ_BYTES = 64 * 1024


def main(url: str, subject: str, expected: int) -> None:
    """Print ``ready``, and after `expected` events the arrival of each by its id, in ns of the monotonic clock.

    Raises:
        ConnectionError: The server has ended the connection.
    """
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB %b 1\r\nPING\r\n' % subject.encode())
        left = b""
        while not left.endswith(b"PONG\r\n"):
            left += _read(server)[1]
        print("ready", flush=True)
        arrivals: dict[str, int] = {}
        left = b""
        while len(arrivals) < expected:
            now, read = _read(server)
            identities, has_ping, left = messages(left + read)
            arrivals.update(dict.fromkeys(identities, now))
            if has_ping:
                server.sendall(b"PONG\r\n")
    print(json.dumps(arrivals), flush=True)


def _read(server: socket.socket) -> tuple[int, bytes]:
    read, now = server.recv(_READ_BYTES), time.monotonic_ns()
    if not read:
        raise ConnectionError("the server has ended the connection")
    return now, read


def messages(read: bytes) -> tuple[list[str], bool, bytes]:
    """Return the ids of the messages that were read whole, whether the server asks if we live, and what is left."""
    identities: list[str] = []
    has_ping, at = False, 0
    while (end := read.find(b"\r\n", at)) >= 0:
        command, *words = read[at:end].split()
        start = end + 2
        if command == b"HMSG":
            headers_bytes, size = int(words[-2]), int(words[-1])
            if len(read) < start + size + 2:
                break
            headers = read[start : start + headers_bytes].splitlines()
            identities += [line.removeprefix(_ID).strip().decode() for line in headers if line.startswith(_ID)]
            start += size + 2
        has_ping = has_ping or command == b"PING"
        at = start
    return identities, has_ping, read[at:]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
