"""``relay tail``: each delivery is shown once, whatever happens meanwhile."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from relay.config.settings import load
from relay.operate.access import reading
from relay.operate.filters import Filters
from relay.operate.follow import Follower
from tests.support.fix_relay import MakeRelay, Outbox, wait_until
from tests.support.fix_stream import Streams

MakeTail = Callable[..., "Tail"]


class Tail:
    """A tail as a process; what it prints is collected."""

    def __init__(self, dsn: str, *args: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "tail", "--output", "json", *args],
            env=inherited | {"RELAY_POSTGRES__DSN": dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._threads = [threading.Thread(target=self._collect), threading.Thread(target=self._listen)]
        for thread in self._threads:
            thread.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def shows(self, *seqs: int) -> None:
        """Wait until exactly these were shown, in any order."""
        wait_until(f"{len(seqs)} shown", lambda: len(self.events) >= len(seqs))
        assert sorted(event["seq"] for event in self.events) == sorted(seqs)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def make_tail(outbox: Outbox) -> Iterator[MakeTail]:
    """Start tails of the test's outbox; they are ended with the test."""
    made: list[Tail] = []

    def make(*args: str) -> Tail:
        made.append(Tail(outbox.dsn, *args))
        return made[-1]

    yield make
    for one in made:
        one.end()


def test_each_delivery_and_dead_letter_is_shown_once(
    outbox: Outbox, streams: Streams, make_relay: MakeRelay, make_tail: MakeTail
) -> None:
    streams.make("ORDERS", "orders.>")
    before = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(3)]
    make_relay(outbox.dsn, streams.url).start()
    outbox.drained()
    with psycopg.connect(outbox.dsn) as late:
        late_row = late.execute(
            "INSERT INTO outbox_events (topic, payload) VALUES ('orders.late', '1') RETURNING seq"
        ).fetchone()
        assert late_row is not None
        waiting = outbox.insert("nowhere.x", None, {"i": 4})
        tail = make_tail("-n", "2")
        tail.shows(*before[1:])
        live = [outbox.insert("orders.placed", "k", {"i": i}) for i in range(5, 8)]
        dead = outbox.insert("a b", None, {"i": 8})
        tail.shows(*before[1:], *live, dead)
    tail.shows(*before[1:], *live, dead, late_row[0])
    # What had no stream at the start, and what an operator gives back.
    streams.make("NOWHERE", "nowhere.>")
    outbox.conn.execute("UPDATE outbox_events SET topic = 'orders.mended', dead_at = NULL, retry_at = now()"
                        " WHERE seq = %s", (dead,))  # fmt: skip
    tail.shows(*before[1:], *live, dead, late_row[0], waiting, dead)
    states = [event["state"] for event in tail.events if event["seq"] == dead]
    assert states == ["dead", "delivered"]
    assert tail.events[-1]["stream"] in ("NOWHERE", "ORDERS")


def test_a_connection_that_is_cut_is_made_again_and_nothing_is_missed(outbox: Outbox, make_tail: MakeTail) -> None:
    deliver = "UPDATE outbox_events SET delivered_at = now(), stream = 'S', stream_seq = seq WHERE delivered_at IS NULL"
    before = outbox.insert("orders.before", "k", {})
    outbox.conn.execute(deliver)
    tail = make_tail("--topic", "orders.*", "-n", "1")
    # Only what has looked once waits for PostgreSQL.
    tail.shows(before)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'outbox-relay cli'"
    wait_until("it looks", lambda: (outbox.conn.execute(cut).fetchone() or (0,))[0])
    seqs = [outbox.insert(topic, "k", {}) for topic in ("orders.a", "other.b", "orders.c")]
    outbox.conn.execute(deliver)
    tail.shows(before, seqs[0], seqs[2])


@pytest.mark.parametrize("was_there", [True, False], ids=["dead before", "shown dead"])
def test_what_is_given_back_and_delivered_between_two_looks_is_shown(outbox: Outbox, was_there: bool) -> None:
    settings = load(None, {"postgres.dsn": outbox.dsn}, environ={})
    follower = Follower(Filters(topic="orders.>"), 0, pytest.fail)

    def shown() -> list[tuple[int, str]]:
        with reading(settings) as reader:
            return [(event.seq, event.state) for event in follower.look(reader)[0]]

    die = "UPDATE outbox_events SET dead_at = now(), last_error = 'x', failure_class = 'poison' WHERE seq = %s"
    dead = outbox.insert("orders.a", "k", {})
    if was_there:
        outbox.conn.execute(die, (dead,))
    assert shown() == []
    if not was_there:
        outbox.conn.execute(die, (dead,))
        assert shown() == [(dead, "dead")]
    give_back = (
        "UPDATE outbox_events SET dead_at = NULL, delivered_at = now(), stream = 'S', stream_seq = 1 WHERE seq = %s"
    )
    outbox.conn.execute(give_back, (dead,))
    assert shown() == [(dead, "delivered")]
    assert shown() == []
