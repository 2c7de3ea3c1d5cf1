"""What would leave an event out of a model, or count one twice, unseen: it is refused, or told."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.config.settings import load
from relay.projection import Event, Projection, Transaction, on
from relay.projection.rules.grouping import Mode
from tests.integration.projection.fix_runner import Run, Running, run_by_command
from tests.integration.projection.test_files_and_commands import FILE
from tests.integration.projection.world import (
    STREAM,
    TABLES,
    Events,
    definition,
    fold,
    run_sql,
    state,
    trail,
    waits,
)
from tests.support.fix_relay import wait_until
from tests.support.relay_cli import done, relay

APPEND = (
    "INSERT INTO trail VALUES ($1, ARRAY[$2::bigint])"
    " ON CONFLICT (key) DO UPDATE SET numbers = trail.numbers || excluded.numbers"
)
RAISES = f"""{TABLES};
    CREATE FUNCTION checked() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.key LIKE 'raises%' THEN
            RAISE EXCEPTION 'secret of %', NEW.key USING ERRCODE = split_part(NEW.key, ' ', 2);
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER checked BEFORE INSERT ON trail FOR EACH ROW EXECUTE FUNCTION checked()"""


class Several(Projection):
    """Sends what its event says, before it appends the number."""

    name, stream, subjects = "trail", STREAM, ("orders.>",)
    tables = TABLES

    @on("orders.placed")
    async def placed(self, tx: Transaction, event: Event) -> None:
        """Send, and append."""
        if event.data.get("first"):
            await tx.execute(event.data["first"])
        await tx.execute(APPEND, [event.key, event.seq])


@pytest.mark.parametrize(
    "first",
    [
        "SELECT 1; COMMIT; BEGIN",
        "(SELECT 1);COMMIT",
        "INSERT INTO trail VALUES ('x', '{}'); ROLLBACK",
        "SELECT 1; SELECT 2",
    ],
)
def test_a_handler_sends_one_statement_at_a_time_so_none_hides_a_commit_behind_another(
    empty_database: str, events: Events, running: Run, first: str
) -> None:
    events.make()
    events.send((1, "a"))
    events.send((2, "k"), payload={"first": first})
    events.send((3, "b"), (4, "c"))
    running(empty_database, events.url, Several)
    wait_until("all is settled", lambda: state(empty_database).get("position") == 4)
    assert trail(empty_database) == fold((1, "a"), (3, "b"), (4, "c"))
    ((seq, reason),) = run_sql(empty_database, "SELECT seq, reason FROM projection.parked")
    assert seq == 2 and "multiple commands" in reason


def test_a_handler_that_copies_stops_its_projection_and_says_so(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "k"), payload={"first": "/* all */ COPY trail TO STDOUT"})
    running(empty_database, events.url, Several)
    wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
    assert "a handler has sent COPY" in state(empty_database)["error"]


@pytest.mark.parametrize("mode", [Mode.EACH, Mode.FOLD])
def test_an_event_that_a_function_of_the_author_refuses_is_parked_whatever_code_it_chose(
    empty_database: str, events: Events, running: Run, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    codes = ["40001", "57014", "57P01", "08006", "53400", "55P03", "25006", "58030"]
    events.make()
    events.send((1, "a"), *((seq, f"raises {code}") for seq, code in enumerate(codes, 2)), (50, "b"))
    running(empty_database, events.url, definition(mode=mode, tables=RAISES))
    wait_until("all is settled", lambda: state(empty_database).get("position") == 10)
    assert trail(empty_database) == fold((1, "a"), (50, "b"))
    parked = run_sql(empty_database, "SELECT reason FROM projection.parked ORDER BY number")
    assert [reason[: len("SQLSTATE 40001")] for (reason,) in parked] == [f"SQLSTATE {code}" for code in codes]
    assert "secret" not in str([vars(record) for record in caplog.records])


def test_the_name_of_a_file_that_an_event_holds_is_not_told(
    empty_database: str, events: Events, running: Run, caplog: pytest.LogCaptureFixture
) -> None:
    events.make()
    events.send((1, "a"), payload={"first": "SELECT pg_read_file('secret-of-ada')"})
    running(empty_database, events.url, Several)
    assert "58P01" in waits(empty_database)
    events.send((2, "b"))
    wait_until("the other shows whose fault it is", lambda: state(empty_database).get("position") == 2)
    assert trail(empty_database) == fold((2, "b"))
    assert "secret" not in str([vars(record) for record in caplog.records])


def test_the_watermark_is_no_event_for_a_handler_with_a_pattern(empty_database: str, events: Events) -> None:
    events.make()
    events.send((1, "a"))
    mark = {"outbox": "outbox_events", "origin": "", "seq": 1, "complete_up_to": "2026-01-01T00:00:00Z"}
    events.store([("orders.watermark", mark, {})])
    events.send((2, "b"))
    settings = {"postgres.dsn": empty_database, "nats.servers": (events.url,), "watermark.subject": "orders.watermark"}
    running = Running([definition()], load(None, settings, environ={}))
    try:
        wait_until("all is settled", lambda: state(empty_database).get("position") == 3)
        assert trail(empty_database) == fold((1, "a"), (2, "b"))
        complete = "SELECT complete_seq, has_bits, applied FROM projection.state"
        wait_until("it is complete", lambda: run_sql(empty_database, complete) == [(1, True, 2)])
    finally:
        running.stop()


def test_a_hot_key_that_was_too_much_is_repaired_by_retry_and_resume(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    keyed = [(seq, "hot" if seq % 10 else f"k{seq % 7}") for seq in range(1, 2_501)]
    events.send(*keyed)
    bad = f"{TABLES}; ALTER TABLE trail ADD CONSTRAINT bad CHECK (6 <> ALL (numbers))"
    running(empty_database, events.url, definition(mode=Mode.FOLD, tables=bad))
    wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
    run_sql(empty_database, "ALTER TABLE trail.trail DROP CONSTRAINT bad")
    done(empty_database, "projection", "retry", "trail", "--yes")
    done(empty_database, "projection", "resume", "trail", "--yes")
    wait_until("all is settled", lambda: state(empty_database).get("position") == 2_500)
    assert run_sql(empty_database, "SELECT 1 FROM projection.parked") == []
    assert trail(empty_database) == fold(*keyed)


@pytest.mark.parametrize("on_refused", ["park", "skip"])
def test_an_event_that_was_given_up_is_not_said_to_be_applied(
    empty_database: str, events: Events, running: Run, on_refused: Any
) -> None:
    def waited(seq: int) -> tuple[int, str]:
        found = relay(empty_database, "projection", "wait", "trail", str(seq), "--timeout", "0")
        return found.exit_code, found.stdout.partition(":")[0].strip()

    events.make()
    events.send((1, "a"))
    events.send((8_193, "k"), payload={"i": "x"})
    events.send((8_194, "k"))
    running(empty_database, events.url, definition(on_refused=on_refused))
    wait_until("all is settled", lambda: state(empty_database).get("position") == 3)
    if on_refused == "park":
        assert [waited(seq) for seq in (8_193, 8_194)] == [(1, "parked")] * 2
        run_sql(empty_database, "UPDATE projection.parked SET wanted = 'skip' WHERE reason IS NOT NULL")
        wait_until("it is given up", lambda: run_sql(empty_database, "SELECT 1 FROM projection.parked") == [])
    assert [waited(seq) for seq in (1, 8_193, 8_194)] == [(0, "applied"), (1, "skipped"), (0, "applied")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one projection."""
    (tmp_path / "trail.toml").write_text(FILE.replace("MODE", "each"), "utf-8")
    (tmp_path / "trail.sql").write_text(TABLES, "utf-8")
    return tmp_path


def test_a_parked_event_that_nothing_handles_any_more_stays_until_it_is_skipped(
    empty_database: str, events: Events, running: Run
) -> None:
    events.make()
    events.send((1, "a"), payload={"i": "x"})
    events.send((2, "a"), topic="orders.other")
    first = running(empty_database, events.url, definition())
    wait_until("both are parked", lambda: state(empty_database).get("position") == 2)
    first.stop()
    (handler,) = definition().handlers
    other = type(handler)("orders.other", None, handler.mode, sql=handler.sql)
    running(empty_database, events.url, definition(handlers=(other,)))
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'retry' WHERE reason IS NOT NULL")
    refused = "SELECT seq, reason FROM projection.parked WHERE wanted IS NULL AND starts_with(reason, 'nothing')"
    told = "nothing is defined for orders.placed any more"
    wait_until("it is refused again", lambda: run_sql(empty_database, refused) == [(1, told)])
    assert (trail(empty_database), state(empty_database)["applied"]) == ({}, 0)
    run_sql(empty_database, "UPDATE projection.parked SET wanted = 'skip' WHERE reason IS NOT NULL")
    wait_until("the one behind it is applied", lambda: trail(empty_database) == fold((2, "a")))


def test_a_stream_that_keeps_the_newest_of_each_subject_is_refused_unless_that_is_accepted(
    empty_database: str, events: Events, folder: Path
) -> None:
    env = {"RELAY_NATS__SERVERS": events.url}
    events.make(max_msgs_per_subject=1)
    events.send((1, "a"), (2, "a"))
    checked = relay(empty_database, "projection", "check", str(folder), **env)
    assert (checked.exit_code, "max_msgs_per_subject" in checked.stdout) == (8, True)
    with run_by_command(empty_database, events.url, folder):
        wait_until("it has stopped", lambda: state(empty_database).get("status") == "stopped")
        assert "partial = true accepts it" in state(empty_database)["error"]
    text = (folder / "trail.toml").read_text("utf-8")
    (folder / "trail.toml").write_text(text.replace("tables =", "partial = true\ntables ="), "utf-8")
    done(empty_database, "projection", "check", str(folder), **env)
    done(empty_database, "projection", "resume", "trail", "--yes")
    with run_by_command(empty_database, events.url, folder):
        wait_until("it reads what is there", lambda: trail(empty_database) == fold((2, "a")))


def test_a_stream_whose_messages_may_expire_is_told(empty_database: str, events: Events, folder: Path) -> None:
    events.make(allow_msg_ttl=True)
    events.send((1, "a"))
    checked = done(empty_database, "projection", "check", str(folder), RELAY_NATS__SERVERS=events.url)
    assert "warning" in checked.stderr and "allow_msg_ttl" in checked.stderr
    with run_by_command(empty_database, events.url, folder, log=folder / "log"):
        wait_until("it reads", lambda: trail(empty_database) == fold((1, "a")))
    lines: list[dict[str, Any]] = [json.loads(one) for one in (folder / "log").read_text("utf-8").splitlines()]
    assert [one["stream"] for one in lines if one["action"] == "projection.may_miss"] == [STREAM]
