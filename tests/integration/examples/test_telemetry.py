"""The telemetry example: commands carried out once, honest answers, and models that are the fold through faults."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from examples.telemetry.__main__ import differences, show
from examples.telemetry.api import Api
from examples.telemetry.command import create_tables
from examples.telemetry.fold import Stats, fold
from examples.traffic import Client
from examples.web import Web
from relay.demo.redis_server import RedisServer
from tests.integration.projection.world import run_sql

GOOD = {"region": "north", "temperature": 21.5, "humidity": 40, "measured_at_ms": 1_700_000_000_000}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def client(database: str, redis: RedisServer) -> Iterator[Client]:
    """The API, without relay and projections."""
    with psycopg.connect(database) as conn:
        create_tables(conn)
    with Web(Api(database, database, redis.url).routes) as web:
        yield Client(web.port)


def test_a_measurement_that_is_sent_many_times_at_once_is_stored_once(client: Client, database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(client.ask, "/devices/a/measurements", GOOD, Idempotency_Key="one") for _ in range(8)]
        answers = [one.result()[:2] for one in sent]
    assert answers[0][0] == 201 and all(one == answers[0] for one in answers)
    assert run_sql(database, "SELECT count(*) FROM measurements") == [(1,)]
    assert run_sql(database, "SELECT key, headers FROM outbox_events") == [("a", {"Event-Version": "2"})]


def test_a_key_of_another_measurement_is_refused(client: Client, database: str) -> None:
    assert client.ask("/devices/a/measurements", GOOD, Idempotency_Key="one")[0] == 201
    assert client.ask("/devices/a/measurements", {**GOOD, "humidity": 41}, Idempotency_Key="one")[0] == 422
    assert client.ask("/devices/b/measurements", GOOD, Idempotency_Key="one")[0] == 201
    assert run_sql(database, "SELECT count(*) FROM measurements") == [(2,)]


@pytest.mark.parametrize(
    "body",
    [
        {**GOOD, "temperature": "21"},
        {**GOOD, "temperature": True},
        {**GOOD, "humidity": 101},
        {**GOOD, "region": "a b"},
        {**GOOD, "measured_at_ms": 1.5},
        [],
    ],
)
def test_what_is_no_measurement_is_refused(client: Client, database: str, body: Any) -> None:
    status, answer, _ = client.ask("/devices/a/measurements", body, Idempotency_Key="one")
    assert status == 400 and answer["error"]
    assert run_sql(database, "SELECT count(*) FROM outbox_events") == [(0,)]


def test_a_measurement_needs_a_key(client: Client) -> None:
    assert client.ask("/devices/a/measurements", GOOD)[0] == 400


def test_a_device_that_has_sent_nothing_is_not_found(client: Client) -> None:
    assert client.ask("/devices/none/stats")[0] == 404
    assert client.ask("/nothing")[0] == 404


def test_an_answer_that_lacks_the_event_asked_for_says_so(client: Client) -> None:
    token = client.ask("/devices/a/measurements", GOOD, Idempotency_Key="one")[2]["Read-After"]
    status, _, headers = client.ask("/devices/a/stats", Read_After=token)
    assert (status, headers["Stale"]) == (404, "true")
    assert client.ask("/devices/a/stats", Read_After="x")[0] == 400


def test_without_redis_the_answer_is_not_now(client: Client, redis: RedisServer) -> None:
    redis.kill()
    assert client.ask("/devices/a/stats")[0] == 503


def test_a_model_that_is_not_the_fold_is_found() -> None:
    wanted = fold(
        [
            {"device": "a", "region": "n", "temperature_mc": 1, "humidity_mp": 2, "measured_at_ms": 3},
            {"device_id": "a", "temperature": 1.5, "humidity": 2, "timestamp": 4},
        ]
    )
    assert wanted.devices == {"a": Stats(2, 1501, 2002, 4000)}
    found = fold([{"device": "a", "region": "n", "temperature_mc": 1, "humidity_mp": 2, "measured_at_ms": 3}])
    assert [line.split(":")[0] for line in differences(wanted, found)] == ["device a", "region n", "region unknown"]


@pytest.mark.timeout(200)
def test_the_models_are_the_fold_though_servers_and_runner_are_killed(capfd: pytest.CaptureFixture[str]) -> None:
    assert show(10, 40, 7) == 0, capfd.readouterr()
    said = capfd.readouterr().out
    assert all(fault in said for fault in ("nats-server is killed", "the projections is killed", "Redis is killed"))
