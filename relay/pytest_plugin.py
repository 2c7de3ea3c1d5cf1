"""The pytest plugin: a fixture ``read_models``, and where its PostgreSQL is.

The address comes from ``--projection-dsn``, else from ``PROJECTION_TEST_DSN`` in the environment, else from the
setting ``projection_dsn`` of pytest. Without any of them a PostgreSQL of its own is started for the session if
``outbox-relay[demo]`` is installed.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from relay.projection.testing.read_models import ReadModels


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the setting."""
    what = "the address of a PostgreSQL in which projections are tested"
    parser.getgroup("projection").addoption("--projection-dsn", default=None, help=what)
    parser.addini("projection_dsn", what, default="")


@pytest.fixture(scope="session")
def projection_dsn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the PostgreSQL in which projections are tested; override it to give another one."""
    told = request.config.getoption("--projection-dsn") or os.environ.get("PROJECTION_TEST_DSN")
    told = told or request.config.getini("projection_dsn")
    if told:
        yield str(told)
        return
    from relay.demo.servers import PostgresServer, ServerError

    try:
        server = PostgresServer(tmp_path_factory.mktemp("projection-postgres"))
        server.start()
    except ServerError as error:
        pytest.fail(f"no PostgreSQL: give --projection-dsn, or install outbox-relay[demo] ({error})", pytrace=False)
    try:
        yield server.dsn()
    finally:
        server.stop()


@pytest.fixture
def read_models(projection_dsn: str) -> "ReadModels":
    """Tests projections, on a schema that is rolled back."""
    from relay.projection.testing.read_models import ReadModels

    return ReadModels(projection_dsn)
