"""``relay replay``: events are sent again, in order, beside the relay, and each once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import NatsServer
from tests.support.fix_console import MakeConsole, operator_settings
from tests.support.fix_relay import Outbox, wait_until
from tests.support.fix_stream import Stored, Streams, assert_once_and_in_order
from tests.support.relay_cli import done, once_begun, relay


def filled(outbox: Outbox, events: int, keys: int) -> None:
    """Fill the outbox with events that are long delivered."""
    outbox.fill("orders.placed", events, keys)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = now() - interval '1 d', stream = 'ORDERS', stream_seq = seq"
    )


def replay(outbox: Outbox, streams: Streams, *args: str) -> dict[str, object]:
    result = done(outbox.dsn, "replay", *args, "--yes", "--output", "json", RELAY_NATS__SERVERS=streams.url)
    told: dict[str, object] = json.loads(result.stdout)
    return told


def version(outbox: Outbox) -> list[tuple[object, ...]]:
    """Return which versions of rows there are: any update would change it."""
    return outbox.conn.execute("SELECT seq, xmin::text, ctid::text FROM outbox_events ORDER BY seq").fetchall()


def test_everything_is_sent_again_in_order_with_ids_of_its_own_and_no_mark(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 3000, 40)
    outbox.insert("orders.placed", "k1", {"i": 9999})  # pending: the relay's own business
    before = version(outbox)
    told = replay(outbox, streams, "--all", "--rate", "100000")
    assert (told["events"], told["finished"], told["duplicates"]) == (3000, True, 0)
    stored = streams.read("ORDERS")
    assert_once_and_in_order(stored, 3000, 40)
    ids = {str(seq): str(event_id) for seq, event_id in outbox.conn.execute("SELECT seq, id FROM outbox_events")}
    for message in stored:
        original = ids[str(message.i)]
        assert message.headers["Outbox-Replay-Of"] == original
        assert message.headers["Nats-Msg-Id"] == f"{original}.replay-{told['replay']}"
        assert message.headers["Outbox-Replay"] == str(told["replay"])
    assert version(outbox) == before
    (line,) = [json.loads(line) for line in done(outbox.dsn, "audit", "--output", "json").stdout.splitlines()]
    assert (line["action"], line["events"], line["planned"]) == ("replay", 3000, 3000)
    assert line["ended_at"] is not None


def test_filters_are_combined(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 100, 10)
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.paid' WHERE seq % 2 = 0")
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE seq > 50")
    ids = [str(row[0]) for row in outbox.conn.execute("SELECT id FROM outbox_events WHERE seq IN (90, 91)")]
    combos: list[tuple[list[str], list[int]]] = [
        (["--key", "k3", "--topic", "orders.placed", "--since", "1h", "--seq", "..80"], [53, 63, 73]),
        (["--key", "k4", "--until", "1h"], [4, 14, 24, 34, 44]),
        (["--id", ids[0], "--id", ids[1], "--topic", "orders.paid"], [90]),
        (["--seq", "99.."], [99, 100]),
    ]
    for args, _ in combos:
        replay(outbox, streams, *args)
    assert [message.i for message in streams.read("ORDERS")] == [i for _, expected in combos for i in expected]
    assert relay(outbox.dsn, "replay", "--key", "nobody", "--yes").stderr == "no matching events\n"


def test_a_side_subject_reaches_one_consumer_alone(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    streams.make("REBUILD", "rebuild.>")
    filled(outbox, 10, 2)
    replay(outbox, streams, "--all", "--subject", "rebuild.{topic}")
    assert [message.subject for message in streams.read("REBUILD")] == ["rebuild.orders.placed"] * 10
    assert streams.messages("ORDERS") == 0


def test_with_the_same_ids_the_window_drops_what_the_stream_has(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 20, 2)
    assert replay(outbox, streams, "--seq", "..5", "--same-id")["duplicates"] == 0
    assert replay(outbox, streams, "--all", "--same-id")["duplicates"] == 5
    assert_once_and_in_order(streams.read("ORDERS"), 20, 2)


def test_discarded_events_are_sent_where_they_are_asked_for(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 5, 1)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = NULL, dead_at = now(), discarded_at = now() WHERE seq = 3"
    )
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL, dead_at = now() WHERE seq = 4")
    replay(outbox, streams, "--all")
    replay(outbox, streams, "--all", "--discarded")
    assert [message.i for message in streams.read("ORDERS")] == [1, 2, 5, 3]


def test_a_dry_run_counts_and_sends_nothing(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 7, 1)
    result = done(outbox.dsn, "replay", "--all", "--dry-run", RELAY_NATS__SERVERS=streams.url)
    assert result.stderr == (
        "dry run, nothing is changed: would replay 7 events to their own subjects, "
        "where every consumer gets them again\n"
    )
    assert outbox.conn.execute("SELECT count(*) FROM outbox_audit").fetchone() == (0,)


def test_without_a_stream_nothing_is_sent_and_the_reason_is_said(outbox: Outbox, streams: Streams) -> None:
    filled(outbox, 7, 1)
    result = relay(outbox.dsn, "replay", "--all", "--yes", RELAY_NATS__SERVERS=streams.url)
    assert result.exit_code == 2
    assert "no stream takes orders.placed" in result.stderr
    args = ("--all", "--subject", "nowhere.x", "--yes")
    result = relay(outbox.dsn, "replay", *args, RELAY_NATS__SERVERS=streams.url)
    assert (result.exit_code, "no stream takes nowhere.x" in result.stderr) == (2, True)
    assert outbox.conn.execute("SELECT count(*) FROM outbox_audit").fetchone() == (0,), "neither was begun"


@pytest.mark.parametrize("args", [["--all"], ["--all", "--subject", "rebuild.{topic}"], ["--seq", "1..7"]])
def test_a_dry_run_finds_a_subject_without_a_stream(outbox: Outbox, streams: Streams, args: list[str]) -> None:
    streams.make("ORDERS", "orders.placed")
    filled(outbox, 7, 1)
    outbox.conn.execute("UPDATE outbox_events SET topic = 'invoices.sent' WHERE seq = 7")
    result = relay(outbox.dsn, "replay", *args, "--dry-run", RELAY_NATS__SERVERS=streams.url)
    assert (result.exit_code, "no stream takes" in result.stderr, "would" in result.stderr) == (2, True, False)


def test_an_event_that_cannot_be_sent_is_named_and_the_replay_can_go_on(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>", max_msg_size=700)
    filled(outbox, 10, 1)
    outbox.conn.execute("UPDATE outbox_events SET payload = to_jsonb(repeat('x', 1000)) WHERE seq = 5")
    result = relay(outbox.dsn, "replay", "--all", "--yes", RELAY_NATS__SERVERS=streams.url)
    assert result.exit_code == 1
    assert "event 5 (" in result.stderr
    assert "--resume 1`" in result.stderr
    outbox.conn.execute("UPDATE outbox_events SET payload = '{\"i\": 5}' WHERE seq = 5")
    assert replay(outbox, streams, "--resume", "1")["finished"]
    assert [message.i for message in streams.read("ORDERS")] == list(range(1, 11))
    for args in (["--resume", "1"], ["--resume", "99"], ["--resume", "1", "--all"], []):
        assert relay(outbox.dsn, "replay", *args, "--yes").exit_code == 2, args


@pytest.fixture
def overtaken(outbox: Outbox, streams: Streams) -> str:
    """The number of a replay that has sent more than was planned, up to seq 100, and was broken off at 120 of 120."""
    streams.make("ORDERS", "orders.>", max_msg_size=700)
    filled(outbox, 120, 1)

    def breaks_off(*args: str, at: int) -> None:
        payload = "jsonb_build_object('i', seq, 'x', repeat('x', CASE seq WHEN %s THEN 1000 ELSE 0 END))"
        outbox.conn.execute(f"UPDATE outbox_events SET payload = {payload}", (at,))
        assert relay(outbox.dsn, "replay", *args, "--yes", RELAY_NATS__SERVERS=streams.url).exit_code == 1

    outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL WHERE seq > 60")
    breaks_off("--all", at=60)
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = now() WHERE delivered_at IS NULL")
    breaks_off("--resume", "1", at=120)
    lines = "SELECT id, planned, events, position FROM outbox_audit WHERE action = 'replay'"
    ((number, *told),) = outbox.conn.execute(lines).fetchall()
    assert told == [60, 100, 100]
    return str(number)


def test_what_was_delivered_since_a_replay_began_is_left_too(outbox: Outbox, streams: Streams, overtaken: str) -> None:
    outbox.conn.execute("UPDATE outbox_events SET payload = jsonb_build_object('i', seq)")
    told = replay(outbox, streams, "--resume", overtaken)
    assert (told["events"], told["finished"]) == (20, True)
    assert [message.i for message in streams.read("ORDERS")] == list(range(1, 121))


def test_more_than_matched_when_it_began_is_told_as_that(
    outbox: Outbox, streams: Streams, make_console: MakeConsole, tmp_path: Path
) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 10, 1)
    outbox.conn.execute("UPDATE outbox_events SET delivered_at = NULL WHERE seq > 7")
    once_begun(outbox.conn, "UPDATE outbox_events SET delivered_at = now() WHERE delivered_at IS NULL")
    told = done(outbox.dsn, "replay", "--all", "--yes", RELAY_NATS__SERVERS=streams.url).stderr
    assert "replayed 10 events (7 when it began) in" in told
    assert "10 (7 when it began)  done" in done(outbox.dsn, "audit").stdout
    console = make_console(outbox.dsn, streams.url, **operator_settings(outbox.dsn, tmp_path)).enter()
    assert "10 (7 when it began)" in console.get("/audit").plain
    ((number,),) = outbox.conn.execute("SELECT id FROM outbox_audit").fetchall()
    assert "10 (7 when it began)" in console.get(f"/changes/{number}").plain


def test_a_replay_of_which_nothing_is_left_is_finished(outbox: Outbox, overtaken: str) -> None:
    outbox.conn.execute("DELETE FROM outbox_events WHERE seq > 100")
    for args, state in ((["--dry-run"], "not finished"), (["--yes"], "done")):
        assert done(outbox.dsn, "replay", "--resume", overtaken, *args).stderr == "nothing left to replay\n"
        assert state in done(outbox.dsn, "audit").stdout


class Replaying:
    """A replay as a process."""

    def __init__(self, dsn: str, url: str, *args: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        environment = inherited | {"RELAY_POSTGRES__DSN": dsn, "RELAY_NATS__SERVERS": url}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "replay", *args, "--yes"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Await its end; return exit code and messages."""
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


@pytest.fixture
def replaying() -> Iterator[list[Replaying]]:
    """Processes of the test, which are ended with it."""
    made: list[Replaying] = []
    yield made
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.end()


def read(streams: Streams) -> list[Stored]:
    return streams.read("ORDERS")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_broken_off_goes_on_where_it_was(
    outbox: Outbox, streams: Streams, replaying: list[Replaying], number: signal.Signals
) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 2000, 20)
    replaying.append(Replaying(outbox.dsn, streams.url, "--all", "--rate", "400"))
    wait_until("some are sent", lambda: streams.messages("ORDERS") >= 150)
    replaying[0].process.send_signal(number)
    code, told = replaying[0].end()
    if number is signal.SIGINT:
        assert (code, "`relay replay --resume 1`" in told) == (130, True)
    assert 150 <= streams.messages("ORDERS") < 2000
    assert "not finished" in done(outbox.dsn, "audit").stdout
    told_now = replay(outbox, streams, "--resume", "1", "--rate", "100000")
    assert told_now["finished"]
    assert_once_and_in_order(read(streams), 2000, 20)
    ((events,),) = outbox.conn.execute("SELECT events FROM outbox_audit WHERE action = 'replay'").fetchall()
    assert events == 2000
    assert outbox.conn.execute("SELECT filter FROM outbox_audit WHERE action = 'resume'").fetchall() == [
        ({"change": 1},)
    ], "who went on has a line of its own"


def test_a_broker_that_goes_away_is_waited_for(
    outbox: Outbox, own_nats: NatsServer, replaying: list[Replaying]
) -> None:
    streams = Streams(own_nats.url)
    streams.make("ORDERS", "orders.>")
    filled(outbox, 1500, 20)
    replaying.append(Replaying(outbox.dsn, own_nats.url, "--all", "--rate", "500"))
    wait_until("some are sent", lambda: streams.messages("ORDERS") >= 150)
    own_nats.kill()
    own_nats.start()
    code, told = replaying[0].end()
    assert (code, "waiting for NATS" in told) == (0, True), told
    assert_once_and_in_order(read(streams), 1500, 20)


def test_the_cost_follows_rows_and_not_the_span_of_their_seqs(outbox: Outbox, streams: Streams) -> None:
    streams.make("ORDERS", "orders.>")
    filled(outbox, 100, 10)
    outbox.conn.execute("ALTER TABLE outbox_events ALTER COLUMN seq RESTART WITH 9000000000000000000")
    outbox.fill("orders.placed", 100, 10)
    outbox.conn.execute(
        "UPDATE outbox_events SET delivered_at = now(), stream = 'ORDERS', stream_seq = 1 WHERE delivered_at IS NULL"
    )
    told = done(outbox.dsn, "replay", "--all", "--dry-run", RELAY_NATS__SERVERS=streams.url)
    assert "would replay 200 events" in told.stderr + told.stdout
    assert replay(outbox, streams, "--all", "--rate", "100000")["events"] == 200
