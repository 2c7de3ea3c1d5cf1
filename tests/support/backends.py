"""Where the session's PostgreSQL and NATS come from: ``RELAY_TEST_SERVERS`` is one of

- ``embedded`` (default): processes of the binaries that the demo uses, or of ``POSTGRES_BIN`` and ``NATS_SERVER``;
- ``testcontainers``: containers of ``RELAY_TEST_POSTGRES_IMAGE`` and ``RELAY_TEST_NATS_IMAGE``, in a Docker engine;
- ``external``: what answers at ``RELAY_TEST_POSTGRES`` and ``RELAY_TEST_NATS``, as an administrator.

Servers that a test stops, kills or freezes are always processes of its own.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from relay.demo.servers import NatsServer, PostgresServer
from tests.support.fix_rights import SUBJECTS, nats_config, nothing_denied, nothing_denied_in

# A test must be able to leave a transaction prepared.
SETTINGS = {"max_prepared_transactions": "10"}
_POSTGRES_IMAGE, _NATS_IMAGE = "postgres:18", "nats:2.15"
_START_TIMEOUT_S = 60.0

Watch = Callable[[pytest.FixtureRequest], AbstractContextManager[None]]


@dataclass(frozen=True)
class Server:
    """A server of the session.

    Attributes:
        address: DSN or URL of its administrator.
        watch: Fails a test during which the server refused a right.
    """

    address: str
    watch: Watch


def _given(name: str) -> str:
    address = os.environ.get(name)
    if not address:
        raise pytest.UsageError(f"RELAY_TEST_SERVERS=external needs {name}")
    return address


@contextmanager
def _unwatched(_: pytest.FixtureRequest) -> Iterator[None]:
    """A server of somebody else keeps its log to itself."""
    yield


def _in_file(log: Path) -> Watch:
    return lambda request: nothing_denied(log, request)


@contextmanager
def _embedded_postgres(directory: Path) -> Iterator[Server]:
    with PostgresServer(directory, fsync=False, settings=SETTINGS) as server:
        yield Server(server.dsn(), _in_file(server.log))


@contextmanager
def _embedded_nats(directory: Path) -> Iterator[Server]:
    with NatsServer(directory, config=nats_config(*SUBJECTS)) as server:
        yield Server(server.url, _in_file(server.log))


@contextmanager
def _contained_postgres(_: Path) -> Iterator[Server]:
    # If no engine is wanted, testcontainers is not even imported; and pytest imports its plugins itself.
    from testcontainers.core.container import DockerContainer

    from tests.support.fix_relay import wait_until

    settings = " ".join(f"-c {name}={value}" for name, value in {"fsync": "off", **SETTINGS}.items())
    image = os.environ.get("RELAY_TEST_POSTGRES_IMAGE", _POSTGRES_IMAGE)
    container = DockerContainer(image).with_env("POSTGRES_HOST_AUTH_METHOD", "trust").with_exposed_ports(5432)
    with container.with_command(f"postgres {settings}"):
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        dsn = f"postgresql://postgres@{host}:{port}/postgres"

        def answers() -> bool:
            try:
                psycopg.connect(dsn, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(f"{image} answers", answers, _START_TIMEOUT_S)
        yield Server(dsn, _in_container(container.get_wrapped_container().logs))


@contextmanager
def _contained_nats(_: Path) -> Iterator[Server]:
    from testcontainers.core.container import DockerContainer

    from tests.support.fix_relay import wait_until

    image = os.environ.get("RELAY_TEST_NATS_IMAGE", _NATS_IMAGE)
    config = "/suite.conf"
    container = DockerContainer(image).with_command(f"-js -c {config}").with_exposed_ports(4222)
    with container.with_copy_into_container(nats_config(*SUBJECTS).encode(), config):
        logs = container.get_wrapped_container().logs
        wait_until(f"{image} is ready", lambda: b"Server is ready" in logs(), _START_TIMEOUT_S)
        address = f"nats://{container.get_container_host_ip()}:{container.get_exposed_port(4222)}"
        yield Server(address, _in_container(logs))


def _in_container(logs: Callable[[], bytes]) -> Watch:
    def watch(request: pytest.FixtureRequest) -> AbstractContextManager[None]:
        # By length: the engine gives what came since a moment for whole seconds alone.
        before = len(logs())
        return nothing_denied_in(lambda: logs()[before:], request)

    return watch


@contextmanager
def _external_postgres(_: Path) -> Iterator[Server]:
    yield Server(_given("RELAY_TEST_POSTGRES"), _unwatched)


@contextmanager
def _external_nats(_: Path) -> Iterator[Server]:
    yield Server(_given("RELAY_TEST_NATS"), _unwatched)


_Make = Callable[[Path], AbstractContextManager[Server]]
_BACKENDS: dict[str, tuple[_Make, _Make]] = {
    "embedded": (_embedded_postgres, _embedded_nats),
    "testcontainers": (_contained_postgres, _contained_nats),
    "external": (_external_postgres, _external_nats),
}


def postgres(directory: Path) -> AbstractContextManager[Server]:
    """Start the session's PostgreSQL, or find it."""
    return _backend()[0](directory)


def nats(directory: Path) -> AbstractContextManager[Server]:
    """Start the session's NATS, or find it."""
    return _backend()[1](directory)


def _backend() -> tuple[_Make, _Make]:
    name = os.environ.get("RELAY_TEST_SERVERS", "embedded")
    if name not in _BACKENDS:
        raise pytest.UsageError(f"RELAY_TEST_SERVERS={name}: one of {', '.join(_BACKENDS)}")
    if name == "external" and "PYTEST_XDIST_WORKER" in os.environ:
        raise pytest.UsageError("RELAY_TEST_SERVERS=external: one server cannot serve several processes: add JOBS=0")
    return _BACKENDS[name]
