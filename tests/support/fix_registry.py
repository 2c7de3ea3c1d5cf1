"""A registry of images and charts on this machine, the real one."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import ChildServer, free_port
from tests.support.programs import program


class Registry(ChildServer):
    """Debian's docker-registry, in the clear on loopback; it keeps what it has in its directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.host = f"127.0.0.1:{free_port()}"

    def start(self) -> "Registry":
        """Start it and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "registry.json"
        storage = {"filesystem": {"rootdirectory": str(self.directory / "kept")}}
        settings = {"version": 0.1, "log": {"level": "warn"}, "storage": storage, "http": {"addr": self.host}}
        config.write_text(json.dumps(settings), "utf-8")
        self._launch([program("docker-registry"), "serve", str(config)])
        return self

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.host}/v2/", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def tags(self, name: str) -> list[str]:
        """Return the tags of a repository."""
        with urllib.request.urlopen(f"http://{self.host}/v2/{name}/tags/list", timeout=5) as answer:
            found: list[str] = json.load(answer)["tags"]
            return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry of the test's own, with nothing in it."""
    server = Registry(tmp_path / "registry").start()
    yield server
    server.kill()
