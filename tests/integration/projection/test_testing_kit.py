"""The kit for users: scenarios on a schema that is rolled back, and a check that finds models which chance decides."""

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest

from relay.errors import ConfigError
from relay.projection import Event, Projection, Transaction, on
from relay.projection.definition import Definition, Handler
from relay.projection.outcome import Stopped
from relay.projection.rules.grouping import Mode
from relay.projection.sql_text import statement
from relay.projection.testing import NotTheSame, ReadModels, event
from tests.integration.projection.world import definition, run_sql

NUMBERS = [event("orders.placed", {"i": number}, key=f"k{number % 3}") for number in range(1, 13)]


def sql(text: str, mode: Mode, tables: str) -> Definition:
    """Make a projection of one statement."""
    return definition("model", tables=tables, handlers=(Handler("orders.>", None, mode, sql=statement(text)),))


@pytest.fixture
def read_models(empty_database: str) -> ReadModels:
    """The kit, in a database of the test's own."""
    return ReadModels(empty_database)


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.SET, Mode.FOLD])
def test_a_model_that_keeps_to_the_promises_passes(read_models: ReadModels, empty_database: str, mode: Mode) -> None:
    good = definition(mode=mode)
    poisoned = [*NUMBERS, event("orders.placed", {"i": "x"}, key="k1"), event("orders.placed", {"i": 99}, key="k1")]
    read_models.check(good, NUMBERS)
    read_models.check(good, poisoned, runs=9)
    rows = [("k0", [3, 6, 9, 12]), ("k1", [1, 4, 7, 10]), ("k2", [2, 5, 8, 11])]
    parked = {13: "22P02", 14: ""}
    read_models.given(*poisoned).when(good).then("SELECT * FROM trail", rows, parked=parked)
    nothing = "SELECT to_regnamespace('trail'), to_regnamespace('projection')"
    assert run_sql(empty_database, nothing) == [(None, None)]


LAST = "CREATE TABLE last (one bool PRIMARY KEY DEFAULT true, number bigint)"
COUNT = "CREATE TABLE counts (key text PRIMARY KEY, first bigint, number bigint)"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(
            sql(
                "INSERT INTO last (number) SELECT max((data->>'i')::bigint) FROM event"
                " ON CONFLICT (one) DO UPDATE SET number = excluded.number",
                Mode.FOLD,
                LAST,
            ),
            id="the last writer of all keys wins",
        ),
        pytest.param(
            sql(
                "INSERT INTO counts SELECT key, max((data->>'i')::bigint), count(*) FROM event GROUP BY key"
                " ON CONFLICT (key) DO UPDATE SET number = counts.number + excluded.number",
                Mode.FOLD,
                COUNT,
            ),
            id="a fold that takes the first of a batch for the first of all",
        ),
        pytest.param(
            sql(
                "INSERT INTO counts SELECT DISTINCT ON (key) key, (data->>'i')::bigint, 1 FROM event"
                " ON CONFLICT (key) DO UPDATE SET number = counts.number + 1",
                Mode.FOLD,
                COUNT,
            ),
            id="a fold that counts batches",
        ),
        pytest.param(
            sql(
                "INSERT INTO counts SELECT key, (SELECT count(*) FROM counts), 1 FROM event ON CONFLICT DO NOTHING",
                Mode.SET,
                COUNT,
            ),
            id="a set that looks at the rows of other keys",
        ),
    ],
)
def test_a_model_that_chance_decides_is_found(read_models: ReadModels, wrong: Definition) -> None:
    with pytest.raises(NotTheSame) as raised:
        read_models.check(wrong, NUMBERS)
    assert "one by one" in str(raised.value) and "table " in str(raised.value)


class Remembers(Projection):
    """Counts in memory what only the tables may count."""

    name, stream, subjects, version = "remembers", "ORDERS", ("orders.>",), 1
    tables = "CREATE TABLE counts (key text PRIMARY KEY, number bigint)"
    seen: ClassVar[dict[str | None, int]] = {}

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Write how many this process has seen."""
        self.seen[event.key] = self.seen.get(event.key, 0) + 1
        count = self.seen[event.key]
        await tx.execute(
            "INSERT INTO counts VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET number = $2", [event.key, count]
        )


def test_a_handler_that_remembers_what_was_rolled_back_is_found(read_models: ReadModels) -> None:
    Remembers.seen.clear()
    with pytest.raises(NotTheSame, match="table counts"):
        read_models.check(Remembers, NUMBERS)


def test_what_may_differ_can_be_left_out(read_models: ReadModels) -> None:
    table = "CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, number bigint)"
    chance = sql("INSERT INTO log (number) SELECT (data->>'i')::bigint FROM event", Mode.EACH, table)
    with pytest.raises(NotTheSame):
        read_models.check(chance, NUMBERS)
    read_models.check(chance, NUMBERS, ignore=["log.id"])


def test_a_scenario_that_is_not_met_shows_the_rows(read_models: ReadModels) -> None:
    placed = read_models.given(event("orders.placed", {"i": 1}, key="a")).when(definition())
    with pytest.raises(AssertionError, match=r"- \('a', \[2\]\)\n  \+ \('a', \[1\]\)"):
        placed.then("SELECT * FROM trail", [("a", [2])])
    refused = read_models.given(event("orders.placed", {"i": "x"}, key="a")).when(definition())
    with pytest.raises(AssertionError, match="event 1 was parked: SQLSTATE 22P02"):
        refused.then("SELECT * FROM trail", [])
    with pytest.raises(AssertionError, match="for another reason"):
        refused.then("SELECT * FROM trail", [], parked={1: "23505"})
    with pytest.raises(AssertionError, match=r"events \[1\] were not parked"):
        placed.then("SELECT * FROM trail", [("a", [1])], parked={1: ""})


async def test_the_kit_may_be_used_while_a_loop_runs(read_models: ReadModels) -> None:
    placed = read_models.given(event("orders.placed", {"i": 1}, key="a")).when(definition())
    placed.then("SELECT numbers FROM trail", [([1],)])


def test_a_constraint_that_is_checked_at_the_commit_parks_its_event(read_models: ReadModels) -> None:
    tables = """CREATE TABLE trail (key text PRIMARY KEY, numbers bigint[] NOT NULL);
        CREATE TABLE allowed (key text PRIMARY KEY); INSERT INTO allowed VALUES ('a');
        ALTER TABLE trail ADD FOREIGN KEY (key) REFERENCES allowed DEFERRABLE INITIALLY DEFERRED"""
    events = [event("orders.placed", {"i": 1}, key="a"), event("orders.placed", {"i": 2}, key="b")]
    model = definition(tables=tables)
    read_models.given(*events).when(model).then("SELECT key FROM trail", [("a",)], parked={2: "23503"})
    read_models.check(model, events, runs=6)


def test_a_database_that_holds_the_projection_is_refused_and_left_alone(
    read_models: ReadModels, empty_database: str
) -> None:
    run_sql(empty_database, "CREATE SCHEMA trail")
    with pytest.raises(ConfigError, match="is in this database already"):
        read_models.check(definition(), NUMBERS)


def test_a_projection_that_stops_says_so(read_models: ReadModels) -> None:
    poison: list[Any] = [event("orders.placed", {"i": "x"}, key=f"k{number}") for number in range(20)]
    with pytest.raises(Stopped, match="in a row"):
        read_models.check(definition(), poison)


def test_the_plugin_brings_the_fixture(empty_database: str, tmp_path: Path) -> None:
    (tmp_path / "trail.sql").write_text("CREATE TABLE trail (key text PRIMARY KEY, numbers bigint)", "utf-8")
    (tmp_path / "trail.toml").write_text(
        """
        [projection]
        name = "trail"
        stream = "ORDERS"
        subjects = "orders.>"
        tables = "trail.sql"
        [[on]]
        topic = "orders.placed"
        mode = "fold"
        sql = "INSERT INTO trail SELECT key, count(*) FROM event GROUP BY key"
        """,
        "utf-8",
    )
    (tmp_path / "test_trail.py").write_text(
        "from relay.projection.testing import event\n"
        "def test_the_trail(read_models):\n"
        "    placed = event('orders.placed', {}, key='a')\n"
        "    read_models.given(placed).when('trail.toml').then('SELECT * FROM trail', [('a', 1)])\n"
        "def test_a_second_event_of_a_key(read_models):\n"
        "    read_models.check('trail.toml', [event('orders.placed', {}, key='a')] * 2)\n",
        "utf-8",
    )
    # cloudcoil's plugin wants packages that it does not bring.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cloudcoil",
        "-p",
        "relay.pytest_plugin",
        "-q",
        "--rootdir",
        ".",
    ]
    done = subprocess.run(
        [*command, "--projection-dsn", empty_database], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "parked are the seqs" in done.stdout


def test_a_database_that_cannot_be_reached_is_said() -> None:
    with pytest.raises(psycopg.OperationalError):
        ReadModels("postgresql://localhost:1/none").check(definition(), NUMBERS)
