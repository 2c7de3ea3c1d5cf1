"""The fixtures of every test, and servers that a test may kill."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from relay.demo.servers import NatsServer, PostgresServer
from relay.postgres.migrate import migrate
from tests.support.backends import SETTINGS
from tests.support.fix_rights import SUBJECTS, let_relay_in, nats_config, nothing_denied

# How long an example takes is up to the machine.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.fixture
def own_postgres(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to be stopped, killed and frozen, with the outbox in its only database."""
    server = PostgresServer(tmp_path / "postgres", settings=SETTINGS)
    with nothing_denied(server.log, request), server:
        let_relay_in(server.dsn())
        with psycopg.connect(server.dsn()) as conn:
            migrate(conn, "outbox_events", "jsonb", bell=True)
        yield server
