"""Whatever an event makes a handler raise refuses that event alone, and what cannot be refused is found as a crash."""

import asyncio
import datetime
import json
import random
import string
from typing import Any

import psycopg
import pytest

from relay.errors import ConfigError
from relay.projection import Event, Projection, Transaction, on, upcast
from relay.projection.service import Kept
from tests.integration.projection.fix_runner import Run
from tests.integration.projection.world import STREAM, TABLES, Events, definition, fold, run_sql, state, trail
from tests.support.fix_relay import wait_until

APPEND = (
    "INSERT INTO trail VALUES ($1, ARRAY[$2::bigint])"
    " ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers"
)


async def _await_what_was_cancelled() -> None:
    waiting = asyncio.create_task(asyncio.sleep(60))
    waiting.cancel()
    await waiting


class Raises(Projection):
    """Raises what its event names."""

    name, stream, subjects = "trail", STREAM, ("orders.>",)
    tables = TABLES

    @staticmethod
    @upcast("orders.old", from_version=1)
    def dated(data: dict[str, Any]) -> dict[str, Any]:
        """Read a time that no clock can show."""
        return {"at": datetime.datetime.fromtimestamp(data["at"], datetime.UTC).isoformat()}

    @on("orders.*")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Append the number, or raise."""
        match event.data.get("raises"):
            case "cancelled":
                await _await_what_was_cancelled()
            case "surrogate":
                raise ValueError(f"unknown state {event.data['secret']}")
            case "too late":
                datetime.datetime.fromtimestamp(1e17, datetime.UTC)
            case "timeout":
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)
            case "reset":
                raise ConnectionResetError(event.data["secret"])
            case "operational":
                raise psycopg.OperationalError(event.data["secret"])
            case "unsendable":
                await tx.execute(APPEND, [event.key, {1}])
            case "rows":
                await tx.executemany(APPEND, (_row(event) for _ in range(2)))
            case "hidden":
                try:
                    await tx.execute("SELECT 1 / 0")
                except psycopg.Error as error:
                    raise OSError(event.data["secret"]) from error
        await tx.execute(APPEND, [event.key, event.seq])


def _row(event: Event) -> list[object]:
    raise TimeoutError(event.data["secret"])


@pytest.mark.parametrize(
    ("raises", "reason"),
    [
        ("cancelled", "CancelledError at "),
        ("surrogate", "ValueError at "),
        ("too late", "at test_handlers_that_raise.py"),
        ("timeout", "TimeoutError at "),
        ("reset", "ConnectionResetError at "),
        ("operational", "OperationalError at "),
        ("unsendable", "ProgrammingError at "),
        ("rows", "TimeoutError at "),
        ("hidden", "OSError at "),
    ],
)
def test_what_a_handler_raises_refuses_its_event_and_others_flow(
    empty_database: str, events: Events, running: Run, caplog: pytest.LogCaptureFixture, raises: str, reason: str
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "k"), payload={"raises": raises, "secret": "secret-of-ada \ud800 \x00"})
    events.send((3, "k"), (4, "b"))
    runner = running(empty_database, events.url, Raises)
    wait_until("all is settled", lambda: state(empty_database).get("position") == 4)
    assert runner.running
    assert trail(empty_database) == fold((1, "a"), (4, "b"))
    parked = run_sql(empty_database, "SELECT seq, reason FROM projection.parked ORDER BY number")
    assert [seq for seq, _ in parked] == [2, 3] and reason in parked[0][1], parked
    told = [json.dumps(vars(record), default=str) for record in caplog.records] + [str(state(empty_database))]
    assert not any("secret" in one for one in told)
    assert any("projection.refused" in one for one in told)


def test_what_brings_a_payload_up_to_date_may_raise_anything_too(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), payload={"at": 1e17}, topic="orders.old")
    events.send((2, "b"))
    running(empty_database, events.url, Raises)
    wait_until("all is settled", lambda: state(empty_database).get("position") == 2)
    assert trail(empty_database) == fold((2, "b"))
    assert run_sql(empty_database, "SELECT seq FROM projection.parked") == [(1,)]


class Loses(Projection):
    """Loses its connection once, and says so by an exception of its own."""

    name, stream, subjects = "trail", STREAM, ("orders.>",)
    tables = TABLES
    left = 1

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Append the number."""
        try:
            if event.seq == 2 and Loses.left:
                Loses.left -= 1
                await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            await tx.execute(APPEND, [event.key, event.seq])
        except psycopg.Error as error:
            raise ValueError("it is the event's fault") from error


def test_a_connection_that_is_lost_in_a_handler_parks_nothing_whatever_the_handler_says(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), (2, "b"), (3, "a"))
    running(empty_database, events.url, Loses)
    wait_until("all is settled", lambda: state(empty_database).get("position") == 3)
    assert (Loses.left, trail(empty_database)) == (0, fold((1, "a"), (2, "b"), (3, "a")))
    assert run_sql(empty_database, "SELECT 1 FROM projection.parked") == []


@pytest.mark.parametrize("payload", [float("nan"), float("inf"), [float("-inf")]])
def test_what_is_no_json_is_refused_as_in_sql(
    empty_database: str, events: Events, running: Run, payload: object
) -> None:
    events.make()
    events.send((1, "a"), payload={"i": payload})
    events.send((2, "b"))
    running(empty_database, events.url, Raises, definition("in_sql"))
    names = ("trail", "in_sql")
    wait_until("all is settled", lambda: [state(empty_database, name).get("position") for name in names] == [2, 2])
    assert [trail(empty_database, name) for name in names] == [fold((2, "b"))] * 2


def test_an_event_whose_key_is_longer_than_an_index_can_hold_is_parked_like_any_other(
    empty_database: str, events: Events, running: Run
) -> None:
    chance = random.Random(1)
    key, other = ("".join(chance.choices(string.ascii_letters, k=6_000)) for _ in range(2))
    events.make()
    events.send((1, "a"))
    events.send((2, key), payload={"i": "x"})
    events.send((3, key), (4, other), (5, "b"))  # the model's own key cannot hold the other one either
    running(empty_database, events.url, definition())
    wait_until("all is settled", lambda: state(empty_database).get("position") == 5)
    assert trail(empty_database) == fold((1, "a"), (5, "b"))
    assert run_sql(empty_database, "SELECT seq FROM projection.parked ORDER BY number") == [(2,), (3,), (4,)]


def test_a_message_with_an_origin_that_no_outbox_has_is_parked_and_settles_no_seq(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), **{"Outbox-Origin": "1f0c88aa"})
    long: dict[str, Any] = {"Outbox-Origin": "x" * 6_000}
    events.send((2, "b"), **long)
    events.send((2, "c"), **{"Outbox-Origin": "1f0c88aa"})
    running(empty_database, events.url, definition())
    wait_until("all is settled", lambda: state(empty_database).get("position") == 3)
    assert trail(empty_database) == {"a": [1], "c": [2]}
    ((reason,),) = run_sql(empty_database, "SELECT reason FROM projection.parked")
    assert "Outbox-Origin is none of an outbox" in reason


async def test_a_part_that_is_cancelled_from_inside_ends_the_whole_with_a_word() -> None:
    kept = Kept(asyncio.current_task())
    with pytest.raises(RuntimeError, match="nobody has told them to end"):
        await kept.run(_await_what_was_cancelled())


async def test_a_whole_that_is_told_to_end_ends_as_it_is_told() -> None:
    async def whole() -> None:
        kept = Kept(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            group.create_task(kept.run(asyncio.sleep(60)))
            group.create_task(kept.run(asyncio.sleep(60)))

    task = asyncio.create_task(whole())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_ends_one_part_is_told_and_not_the_end_of_the_others() -> None:
    async def fails() -> None:
        raise ConfigError(["it is wrong"])

    async def whole() -> None:
        kept = Kept(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            group.create_task(kept.run(asyncio.sleep(60)))
            group.create_task(kept.run(fails()))

    with pytest.raises(ExceptionGroup) as raised:
        await whole()
    assert [str(one) for one in raised.value.exceptions] == ["it is wrong"]
