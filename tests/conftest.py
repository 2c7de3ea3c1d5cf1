"""The fixtures of every test, and servers that a test may kill."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import psycopg
import pytest
from hypothesis import settings

from relay.demo import servers
from relay.demo.servers import NatsServer, PostgresServer
from relay.postgres.migrate import migrate
from tests.support import in_memory
from tests.support.backends import SETTINGS
from tests.support.fix_rights import SUBJECTS, let_relay_in, nats_config, nothing_denied

# How long an example takes is up to the machine.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

pytest_plugins = [
    "tests.support.fix_databases",
    "tests.support.fix_proxy",
    "tests.support.fix_relay",
    "tests.support.fix_stream",
    "tests.support.fix_cluster",
    "tests.support.fix_tls",
    "tests.support.fix_pgbouncer",
    "tests.kube.cluster",
    "tests.support.fix_prometheus",
    "tests.support.fix_console",
    "tests.support.fix_registry",
]


@pytest.fixture
def own_nats(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    """A nats-server of the test's own, to be stopped, killed and frozen."""
    server = NatsServer(tmp_path / "nats", config=nats_config(*SUBJECTS))
    with nothing_denied(server.log, request), server:
        yield server


_TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
_MADE = pytest.StashKey[Path]()
# Of each log of a test that failed, characters.
_SHOWN = 4_000


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Ignore a signal."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the files of tests in memory; the processes of a run get their directory from the first one."""
    # What is imported and collected stays to the end: to look for garbage in it again and again took two fifths of the
    # time until the first test, in each process of a run.
    gc.disable()
    # Each process of a run has ports of its own: between the choice of one and its use another could take it.
    worker, workers = (
        os.environ.get("PYTEST_XDIST_WORKER", "gw0"),
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    )
    servers.PORTS = servers.PORTS[int(worker.removeprefix("gw")) :: workers]
    # In the background of a script, or under nohup, these are ignored, and all that tests start would inherit that. A
    # handler is not inherited.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _pass_over)
    if _TEMPORARY in os.environ or config.getoption("basetemp") is not None:
        return
    made = in_memory.directory()
    if made is not None:
        config.stash[_MADE] = made
        os.environ[_TEMPORARY] = str(made)


def pytest_collection_finish() -> None:
    """Look for garbage among what comes from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the files of failed tests alone until the next run."""
    made = config.stash.get(_MADE, None)
    if made is not None:
        del os.environ[_TEMPORARY]
        if not any(made.glob("*/*/*")):
            shutil.rmtree(made, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a test that fails what its relays have said last: their files are gone by the time somebody looks."""
    report = yield
    made = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and made is not None:
        for log in sorted(made.rglob("*.log")):
            if log.is_file():
                report.sections.append((str(log.relative_to(made)), log.read_text("utf-8", "replace")[-_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a stopped PostgreSQL with the outbox in its only database: a copy takes no second."""
    server = PostgresServer(tmp_path_factory.mktemp("prepared"), fsync=False, settings=SETTINGS)
    with server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        server.stop()
    return server.data


@pytest.fixture
def own_postgres(tmp_path: Path, prepared_data: Path, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped, killed and frozen, with the outbox in its only database."""
    server = PostgresServer(tmp_path / "postgres", settings=SETTINGS)
    shutil.copytree(prepared_data, server.data)
    with nothing_denied(server.log, request), server:
        yield server
