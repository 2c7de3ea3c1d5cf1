"""Repairing a model: what is tried again and refused again is told, in its order, and nothing is done unseen."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result

from relay.demo.redis_server import RedisServer
from relay.projection import Event, Projection, Transaction, on
from tests.integration.projection.fix_redis import TRAIL
from tests.integration.projection.fix_runner import Run, run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import STREAM, TABLES, Events, run_sql, state, trail
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import relay

LUA = f"""
[projection]
name = "trail"
store = "redis"
stream = "{STREAM}"
subjects = ["orders.>"]

[[on]]
topic = "orders.placed"
lua = '''{TRAIL}'''
"""


class Model(NamedTuple):
    """A running projection with events of one key parked, and the commands for its store."""

    log: Path
    ask: Callable[..., Result]
    parked: Callable[[], list[dict[str, Any]]]


Begin = Callable[[], AbstractContextManager[Model]]


@pytest.fixture(params=["postgres", "redis"])
def begin(request: pytest.FixtureRequest, empty_database: str, events: Events, tmp_path: Path) -> Iterator[Begin]:
    """Run a projection in one of the stores: two events of key a are parked and a later one, and one of key b."""
    folder = tmp_path / "projections"
    folder.mkdir()
    events.make()
    events.send((1, "a"), payload={"i": "secret-of-ada"})
    events.send((2, "a"), (3, "a"), (4, "c"))
    events.send((5, "b"), payload={"i": "secret-of-bob"})

    @contextmanager
    def run(group: tuple[str, ...], **environ: str) -> Iterator[Model]:
        def ask(command: str, *args: str) -> Result:
            return relay(empty_database, *group, command, "trail", *args, **environ)

        def parked() -> list[dict[str, Any]]:
            found = ask("parked", *(() if "redis" in group else ("--output", "json")))
            return [json.loads(line) for line in found.stdout.splitlines()]

        log = tmp_path / "log"
        with run_by_command(empty_database, events.url, folder, log=log, **environ):
            wait_until("four are parked", lambda: len(parked()) == 4)
            yield Model(log, ask, parked)

    if request.param == "postgres":
        (folder / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
        (folder / "trail.sql").write_text(TABLES, "utf-8")
        yield lambda: run(("projection",))
        return
    (folder / "trail.toml").write_text(LUA, "utf-8")
    with RedisServer(tmp_path / "redis") as server:
        yield lambda: run(("projection", "redis"), RELAY_REDIS__URL=server.url)


def test_a_retry_that_is_refused_again_says_when_how_often_and_why(begin: Begin) -> None:
    with begin() as model:
        first = model.parked()[0]
        assert (first["refusals"], first["refused_at"] >= first["parked_at"]) == (1, True)
        asked = model.ask("retry", "--key", "a", "--yes")
        assert (asked.exit_code, "asked to retry 1 parked event; 2 behind it follow" in asked.stdout) == (0, True)
        assert "parked trail" in asked.stderr
        wait_until("it was tried again", lambda: model.parked()[0]["refusals"] == 2)
        again = model.parked()[0]
        assert again["refused_at"] > first["refused_at"]
        assert (again["reason"], again["wanted"]) == (first["reason"], None)
        # What only waits was not tried.
        assert [one["refusals"] for one in model.parked()] == [2, 0, 0, 1]
        wait_until("the log says so", lambda: "refused again" in model.log.read_text("utf-8"))
    lines = [json.loads(line) for line in model.log.read_text("utf-8").splitlines() if "projection.refused" in line]
    assert [(one["key"], one["seq"]) for one in lines] == [("a", 1), ("b", 5), ("a", 1)]
    assert all(one["command"].endswith(" retry trail") for one in lines)
    assert "secret" not in model.log.read_text("utf-8")


def test_an_event_is_not_tried_again_before_an_earlier_one_of_its_key_that_was_refused(begin: Begin) -> None:
    with begin() as model:
        first, second, third, _ = (str(one["number"]) for one in model.parked())
        refused = model.ask("retry", "--number", third, "--yes")
        assert refused.exit_code == 1
        assert f"number {third} waits behind number {first} of its key, which was refused" in refused.stderr
        assert [one["wanted"] for one in model.parked()] == [None] * 4
        both = model.ask("retry", "--number", first, "--number", second, "--yes")
        assert (both.exit_code, both.stdout.strip()) == (0, "asked to retry 2 parked events; 1 behind them follows")


def test_an_event_is_given_up_wherever_it_stands(begin: Begin) -> None:
    with begin() as model:
        numbers = [str(one["number"]) for one in model.parked()]
        assert model.ask("skip", "--number", numbers[1], "--yes").exit_code == 0
        wait_until("the second is gone", lambda: [one["seq"] for one in model.parked()] == [1, 3, 5])
        assert model.ask("skip", "--number", numbers[0], "--yes").exit_code == 0
        wait_until("its key goes on", lambda: [one["seq"] for one in model.parked()] == [5])


def test_a_wish_that_meets_no_parked_event_is_a_fault_unless_all_were_meant(begin: Begin) -> None:
    with begin() as model:
        for args in (("retry", "--key", "none"), ("retry", "--number", "999"), ("skip", "--number", "999")):
            missed = model.ask(*args, "--yes")
            assert (missed.exit_code, "no matching parked events" in missed.stderr) == (1, True), args
        numbers = [word for one in model.parked() for word in ("--number", str(one["number"]))]
        assert model.ask("skip", *numbers, "--yes").exit_code == 0
        wait_until("nothing is parked", lambda: model.parked() == [])
        nothing = model.ask("retry", "--yes")
        assert (nothing.exit_code, nothing.stderr.strip()) == (0, "nothing is parked")


class Careless(Projection):
    """Forgets to await for some keys, and fails for others."""

    name, stream, subjects, version = "careless", STREAM, ("orders.>",), 1
    tables = TABLES

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> object:
        """Append the number."""
        statement = "INSERT INTO trail VALUES ($1, ARRAY[$2::bigint])"
        values: list[object] = [event.key, event.seq]
        if event.key == "forgets":
            _ = tx.execute(statement, values)  # here it is forgotten
        elif event.key == "returns":
            return self.helper(tx, statement, values)
        elif event.key == "fails":
            raise ValueError(event.data)  # here it fails
        elif event.key == "refused":
            await tx.execute("INSERT INTO trail VALUES ($1, NULL)", [event.key])  # here it is refused
        else:
            await self.helper(tx, statement, values)
        return None

    async def helper(self, tx: Transaction, statement: str, values: list[object]) -> None:
        """Append the number."""
        await tx.execute(statement, values)


def _line(marked: str) -> str:
    lines = Path(__file__).read_text("utf-8").splitlines()
    (number,) = [at for at, line in enumerate(lines, 1) if line.endswith(f"# {marked}")]
    return f"{Path(__file__).name}:{number}"


@pytest.mark.parametrize(
    ("key", "word", "reason"),
    [
        ("forgets", f"the statement at {_line('here it is forgotten')} was not awaited", ""),
        ("returns", "the handler of orders.placed returned what must be awaited in it", ""),
        ("fails", f"ValueError at {_line('here it fails')}", "{'i': 'secret-of-ada'}"),
        ("refused", f"SQLSTATE 23502 (numbers) at {_line('here it is refused')}", "null value in column"),
    ],
)
def test_a_fault_of_a_handler_names_its_place_and_the_log_no_value(
    empty_database: str,
    events: Events,
    running: Run,
    caplog: pytest.LogCaptureFixture,
    key: str,
    word: str,
    reason: str,
) -> None:
    events.make()
    events.send((1, key), payload={"i": "secret-of-ada"})
    events.send((2, "good"))
    running(empty_database, events.url, Careless)
    wait_until("both are settled", lambda: state(empty_database, "careless").get("position") == 2)
    assert trail(empty_database, "careless") == {"good": [2]}
    ((found,),) = run_sql(empty_database, "SELECT reason FROM projection.parked")
    assert found.startswith(word) and reason in found
    name = "projection.refused"
    (fields,) = [vars(one)["relay_fields"] for one in caplog.records if vars(one).get("relay_action") == name]
    assert fields["reason"] == (word if reason else found)
    assert "secret" not in str(fields)
