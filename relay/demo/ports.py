"""Ports of the loopback interface for servers; each belongs to one process, also while its server is down."""

import fcntl
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

# Below the ports that systems hand out by themselves (Linux from 32,768, macOS from 49,152): none of these is
# taken for an outgoing connection while its server is down, not even by a client that tries to reach it.
_PORTS = range(20_000, 32_000)
# What this process was given.
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now, and that only a server of this process will take.

    The kernel keeps a lock for each port that was given, and frees it with the process.
    """
    if len(_given) > len(_PORTS) // 2:
        for port in _given:
            _unlock(port)
        _given.clear()
    while True:
        port = secrets.choice(_PORTS)
        if port in _given or not _lock(port):
            continue
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            _given.add(port)
            return port
        _unlock(port)


def _unlock(port: int) -> None:
    fcntl.lockf(_locks(), fcntl.LOCK_UN, 1, port)


def _lock(port: int) -> bool:
    """Lock a port for this process; return False if another one has it."""
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _locks() -> int:
    """Return the file in which each byte stands for a port, open to the end of the process: to close it frees them."""
    file = Path(tempfile.gettempdir()) / f"outbox-relay-ports-{os.getuid()}"
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
