"""The whole relay against a world that does its worst, in any order, and against the laws.

Time, PostgreSQL's tables and the server's answers are played (`tests.support.model`), everything else is the relay's
own: replica, term, fetcher, lanes, publisher, settler, gaps, holds, healing, searches. Held against it:

- G1: a row is marked only with a place where the stream has stored it; at the end each row is delivered or dead;
- G2: nothing is stored that was never committed;
- G3: of two rows of a key the one that became visible first is stored first;
- G4: a stream that could be looked at holds no event twice;
- G5: only what can never be stored becomes a dead letter, and an event that nothing holds is delivered in time,
  whatever else waits;
- G9: nothing at or below the watermark is pending, or becomes visible later.

``MODEL_EXAMPLES=1000 pytest tests/acceptance/test_model.py`` searches on, each time elsewhere.
"""

import logging
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from relay.config.settings import load
from relay.delivery.fetcher import Fetcher
from relay.integrity.loss_watch import LossWatch
from relay.integrity.tail_search import TailSearch
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.connection_suspects import ConnectionSuspects
from relay.rules.in_hand import InHand
from relay.rules.sending.in_doubt import InDoubt
from tests.support.model.broker import Broker, Stream
from tests.support.model.clock import Clock
from tests.support.model.outbox import Contents, Outbox, Row, Transaction
from tests.support.model.process import Process

SETTINGS = {
    "RELAY_DELIVERY__BELL": "false",
    "RELAY_DELIVERY__FETCH_BATCH": "10",
    "RELAY_DELIVERY__BUFFER_EVENTS": "40",
    "RELAY_DELIVERY__HELD_EVENTS": "10",
    "RELAY_DELIVERY__ATOMIC_BATCH": "5",
    "RELAY_DELIVERY__WINDOW": "20",
    "RELAY_DELIVERY__ACK_TIMEOUT_S": "2",
    "RELAY_FAILURES__HOLD_BASE_S": "0.2",
    "RELAY_FAILURES__HOLD_MAX_S": "2",
    "RELAY_FAILURES__BACKOFF_BASE_S": "0.2",
    "RELAY_FAILURES__BACKOFF_MAX_S": "1",
    "RELAY_HEALING__CHECK_EVERY_S": "2",
    "RELAY_CONSUMERS__WATCH": "false",
    "RELAY_LEASE__TTL_S": "2",
}
STREAMS = ("ORDERS", "LEDGER")
GOOD = ("orders.a", "orders.b", "ledger.a")
HOMELESS = ("nowhere.a", "nowhere.b")
WEIRD = "orders.weird"
POISON = "bad..topic"
KEYS = ("a", "b", "c", None)
# An event that nothing holds is delivered within this time, seconds, whatever waits beside it.
PROMPT_S = 12.0
# Once nothing is wrong any more, everything is settled within this time, seconds.
AT_REST_S = 1500.0
DEADLY, LARGE = b'"deadly"', b'"' + b"x" * 2_000 + b'"'

topics = st.sampled_from((*GOOD, *GOOD, *HOMELESS, WEIRD, POISON))
keys = st.sampled_from(KEYS)
which = st.integers(0, 99)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Leave the level as it was: a machine that is only looked at is made, and never torn down."""
    log = logging.getLogger("relay")
    level = log.level
    yield
    log.setLevel(level)


def _is_poison(row: Row) -> bool:
    """Report whether a row can never be stored: its key goes on before that is written down."""
    return row.topic == POISON or row.payload in (DEADLY, LARGE)


class RelayUnderFire(RuleBasedStateMachine):
    """The relay, and everything that may happen to it.

    Attributes:
        blocks: Whether a dead letter keeps its key waiting.
    """

    blocks = False

    def __init__(self) -> None:
        super().__init__()
        self._log_level = logging.getLogger("relay").level
        logging.getLogger("relay").setLevel(logging.CRITICAL)
        self.clock = Clock()
        self.broker = Broker(self.clock, self._stored)
        self.outbox = Outbox(self.clock, self.broker)
        on_dead = {"RELAY_FAILURES__ON_DEAD": "block" if self.blocks else "skip"}
        self.process = Process(load(environ=SETTINGS | on_dead), self.clock, self.outbox, self.broker)
        self.copy: Contents | None = None
        self.chance = Random(0)
        # Streams that could not be looked at. And events that the operator has sent again.
        self.unsearched: set[str] = set()
        self.may_come_twice: set[str] = set()
        self.spoiled = False
        # How often each row's mark was taken away by hand.
        self.taken_away: Counter[str] = Counter()
        self.crashed_at = float("-inf")

    @initialize(atomic=st.booleans())
    def begin(self, atomic: bool) -> None:
        self.broker.make("ORDERS", "orders.>", atomic=atomic)
        self.broker.make("LEDGER", "ledger.>", window_s=120.0)
        self.process.start()
        self.process.rest(1)

    # The laws that hold at each message.

    def _stored(self, stream: Stream, event_id: str) -> None:
        row = self.outbox.ever.get(event_id)
        assert row is not None, f"G2: {event_id} is stored, and was never committed"
        if stream.holds(event_id):
            exempt = event_id in self.may_come_twice or stream.name in self.unsearched
            assert exempt, f"G4: {row} is in {stream.name} already"
        now = self.outbox.now.rows.get(row.seq)
        if now is None or now.id != event_id or now.odd or event_id in self.broker.acknowledged:
            return
        for other in self.outbox.now.rows.values():
            if other.key is None or other.key != now.key or other.odd or other.delivered_at is not None:
                continue
            if not self.blocks and (other.dead_at is not None or _is_poison(other)):
                continue
            if other.id not in self.broker.acknowledged and self.outbox.comes_before(other, now):
                raise AssertionError(f"G3: {now} is stored before {other}")

    # Applications.

    def _insert(
        self, topic: str, key: str | None, payload: bytes = b"{}", transaction: Transaction | None = None
    ) -> Row:
        event_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        if topic == WEIRD:
            self.broker.weird[event_id] = self.chance.randrange(3)
        into = transaction or self.outbox.begin()
        row = self.outbox.draw(into, topic, key, payload, event_id)
        if transaction is None:
            self.outbox.end(into, commit=True)
        return row

    @rule(topic=topics, key=keys, count=st.integers(1, 30))
    def insert(self, topic: str, key: str | None, count: int) -> None:
        for _ in range(count):
            self._insert(topic, key)

    @precondition(lambda self: len(self.outbox.open) < 3)
    @rule(topic=topics, key=keys)
    def insert_without_commit(self, topic: str, key: str | None) -> None:
        self._insert(topic, key, transaction=self.outbox.begin())

    @precondition(lambda self: self.outbox.open)
    @rule(number=which, topic=topics, key=keys)
    def insert_more(self, number: int, topic: str, key: str | None) -> None:
        self._insert(topic, key, transaction=self.outbox.open[number % len(self.outbox.open)])

    @precondition(lambda self: self.outbox.open)
    @rule(number=which, commit=st.booleans())
    def end(self, number: int, commit: bool) -> None:
        self.outbox.end(self.outbox.open[number % len(self.outbox.open)], commit=commit)

    @precondition(lambda self: sum(row.payload == LARGE and row.pending for row in self.outbox.now.rows.values()) < 2)
    @rule(key=keys)
    def insert_what_ends_the_connection(self, key: str | None) -> None:
        self._insert("orders.large", key, LARGE)

    @precondition(lambda self: not any(row.payload == DEADLY and row.pending for row in self.outbox.now.rows.values()))
    @rule(key=keys)
    def insert_what_ends_the_process(self, key: str | None) -> None:
        self._insert("orders.deadly", key, DEADLY)

    @rule(ahead=st.sampled_from((50, 5_000, 10**9)), topic=topics)
    def insert_far_ahead(self, ahead: int, topic: str) -> None:
        """Insert a row by hand, with a seq of one's own."""
        transaction = self.outbox.begin()
        row = self._insert(topic, None, transaction=transaction)
        row.seq = max([row.seq, *self.outbox.now.rows]) + ahead
        row.odd = True
        self.outbox.end(transaction, commit=True)

    # The operator.

    def _some(self, number: int) -> Row | None:
        rows = list(self.outbox.now.rows.values())
        return rows[-1 - number % len(rows)] if rows else None

    @rule(number=which)
    def delete(self, number: int) -> None:
        if (row := self._some(number)) is not None:
            del self.outbox.now.rows[row.seq]
            row.odd = True

    @rule(number=which, topic=st.sampled_from(("ledger.altered", "orders.altered", POISON)), key=keys)
    def alter(self, number: int, topic: str, key: str | None) -> None:
        row = self._some(number)
        if row is not None and row.pending and row.payload != DEADLY:
            row.topic, row.key, row.payload, row.odd = topic, key, b"{}", True

    @rule(
        key=keys, topic=st.sampled_from((POISON, WEIRD, HOMELESS[0])), rests_s=st.sampled_from((0.0, 0.003, 0.02, 1.0))
    )
    def correct_in_a_transaction(self, key: str | None, topic: str, rests_s: float) -> None:
        """Insert a row that is refused, and correct it in a transaction that holds its lock meanwhile."""
        row = self._insert(topic, key)
        self.process.rest(rests_s)
        self.outbox.locked.add(row.seq)
        self.process.rest(1)
        if row.pending and self.outbox.now.rows.get(row.seq) is row:
            row.topic, row.odd = "orders.corrected", True
        self.outbox.locked.discard(row.seq)

    @rule(number=which)
    def mark_by_hand(self, number: int) -> None:
        row = self._some(number)
        if row is not None and row.pending:
            row.delivered_at, row.odd = self.clock.time(), True

    @rule(number=which)
    def take_the_mark_away_by_hand(self, number: int) -> None:
        row = self._some(number)
        if row is not None and row.delivered_at is not None:
            row.delivered_at, row.odd = None, True
            self.outbox.given_back.add(row.seq)
            self.may_come_twice.add(row.id)
            self.taken_away[row.id] += 1

    @rule()
    def retry_dead_letters(self) -> None:
        for row in self.outbox.now.rows.values():
            if row.dead_at is not None:
                row.dead_at, row.retry_at, row.attempts, row.odd = None, self.clock.time(), 0, True
                self.outbox.given_back.add(row.seq)

    @rule(number=which)
    def lock(self, number: int) -> None:
        if (row := self._some(number)) is not None:
            self.outbox.locked.add(row.seq)

    @precondition(lambda self: self.outbox.locked)
    @rule()
    def unlock(self) -> None:
        self.outbox.locked.clear()

    # The database.

    @rule()
    def copy_to_the_standby(self) -> None:
        self.copy = self.outbox.copy()

    @precondition(lambda self: self.copy is not None)
    @rule(away_s=st.sampled_from((0.1, 3.0)))
    def promote_the_standby(self, away_s: float) -> None:
        assert self.copy is not None
        self.outbox.up = False
        self.process.rest(away_s)
        self.outbox.fail_over(self.copy)
        self.outbox.locked.clear()
        self.outbox.up = True
        self.copy = None

    @rule(restart=st.booleans())
    def truncate(self, restart: bool) -> None:
        """Empty the table. Until the next beat a sequence that began again cannot be told from one that went on."""
        if self.outbox.open or (restart and self.outbox.now.drawn < 100):
            return
        self.outbox.truncate(restart=restart)
        self.outbox.locked.clear()
        if restart:
            self.process.rest(3)

    @rule()
    def cut_the_database(self) -> None:
        self.outbox.connections += 1

    # The streams.

    @rule(name=st.sampled_from(STREAMS))
    def lose_a_stream(self, name: str) -> None:
        """Delete it, and make it again."""
        known = self.broker.streams[name]
        self.broker.make(name, *known.subjects, window_s=known.window_s, atomic=known.atomic)

    @rule(name=st.sampled_from(STREAMS), lost=st.integers(1, 5))
    def roll_a_stream_back(self, name: str, lost: int) -> None:
        """Lose its newest messages, as a server that comes back without them."""
        stream = self.broker.streams[name]
        for seq in sorted(stream.messages)[-lost:]:
            del stream.messages[seq]
            stream.last = seq - 1
        stream.last = max(stream.messages, default=stream.last)
        stream.remembered = {i: at for i, at in stream.remembered.items() if at[1] <= stream.last}
        self.broker.cut()

    @rule(name=st.sampled_from(STREAMS))
    def fill_or_empty_a_stream(self, name: str) -> None:
        self.broker.streams[name].full ^= True

    @rule(name=st.sampled_from(STREAMS))
    def hide_or_show_a_stream(self, name: str) -> None:
        stream = self.broker.streams[name]
        stream.readable ^= True
        self.unsearched.add(name)
        self.broker.cut("authorization changed")

    @rule(name=st.sampled_from(STREAMS), for_s=st.sampled_from((0.3, 0.9, 1.5)))
    def lose_the_quorum(self, name: str, for_s: float) -> None:
        """Let a stream store what it takes only later, though before it forgets the id."""
        self.broker.lose_the_quorum(name)
        self.process.rest(for_s)
        self.broker.regain_the_quorum(name)
        self._keep_running()

    # The server and the network.

    @rule()
    def cut_the_connection(self) -> None:
        self.broker.cut()

    @rule(silent_s=st.sampled_from((0.5, 3.0, 7.0)))
    def fall_silent(self, silent_s: float) -> None:
        self.broker.silent = True
        self.process.rest(silent_s)
        self.broker.silent = False
        self.broker.cut()

    @rule(away_s=st.sampled_from((0.5, 4.0)))
    def take_the_server_away(self, away_s: float) -> None:
        self.broker.up = False
        self.broker.cut()
        self.process.rest(away_s)
        self.broker.up = True

    # The relay.

    @rule(away_s=st.sampled_from((0.0, 3.0)))
    def kill(self, away_s: float) -> None:
        self.process.kill()
        self.process.rest(away_s)
        self._keep_running()

    def _keep_running(self) -> None:
        if not self.process.running:
            self.crashed_at = self.clock.now
            self.process.start()

    @rule(seconds=st.sampled_from((0.003, 0.02, 0.3, 1.0, 3.0)))
    def rest(self, seconds: float) -> None:
        self.process.rest(seconds)
        self._keep_running()

    @rule()
    def nothing_that_waits_holds_up_what_could_flow(self) -> None:
        """Insert an event of a key and a subject that nothing holds."""
        # One that was marked by hand may be in memory still, and end connections.
        rows = self.outbox.now.rows.values()
        if any(row.payload in (DEADLY, LARGE) and (row.pending or row.odd) for row in rows):
            return
        if self.clock.now - self.crashed_at < 60 or not all(one.readable for one in self.broker.streams.values()):
            return
        name = next((one for one in STREAMS if not self.broker.streams[one].full), None)
        if name is None or self.outbox.now.drawn + 1 in self.outbox.now.rows:
            return
        row = self._insert(f"{name.lower()}.free", None)
        until = self.clock.now + PROMPT_S
        while row.pending and self.clock.now < until:
            self.process.rest(0.5)
            self._keep_running()
        assert not row.pending, f"nothing holds {row}, and it was not delivered within {PROMPT_S} s"

    def teardown(self) -> None:
        """Mend the world: everything is settled then, and rightly."""
        try:
            self._come_to_rest()
        finally:
            self.process.close()
            logging.getLogger("relay").setLevel(self._log_level)

    def _come_to_rest(self) -> None:
        if not self.broker.streams:
            return
        self.outbox.up, self.broker.up, self.broker.silent = True, True, False
        self.outbox.locked.clear()
        for transaction in list(self.outbox.open):
            self.outbox.end(transaction, commit=True)
        for stream in self.broker.streams.values():
            stream.full, stream.readable = False, True
        self.broker.make("NOWHERE", "nowhere.>")
        self.broker.cut()
        until = self.clock.now + AT_REST_S
        while any(row.pending for row in self.outbox.now.rows.values()):
            pending = [row for row in self.outbox.now.rows.values() if row.pending]
            assert self.clock.now < until, f"stuck: {pending}"
            if self.blocks:
                self._decide_about_dead_letters()
            self._send_what_is_in_vain(pending)
            self.process.rest(1)
            self._keep_running()
        self.process.rest(3)
        self.outbox.hold_complete()
        for row in self.outbox.now.rows.values():
            if row.dead_at is not None:
                assert _is_poison(row), f"G5: {row} is dead, and could have been stored"
            elif not row.odd:
                assert row.id in self.broker.acknowledged, f"G1: {row} was never stored"

    def _decide_about_dead_letters(self) -> None:
        """Delete the dead letters, so that their keys go on."""
        for row in [row for row in self.outbox.now.rows.values() if row.dead_at is not None]:
            assert _is_poison(row), f"G5: {row} is dead, and could have been stored"
            del self.outbox.now.rows[row.seq]

    def _send_what_is_in_vain(self, pending: list[Row]) -> None:
        """Do what the operator is told to (`scrub.in_vain`), for what the relay has given up and for nothing else.

        A mark that is taken back again and again is made once more, and then left to the operator.
        """
        given_up = self.process.in_vain()
        for row in pending:
            if row.seq in given_up and row.retry_at is None:
                assert self.taken_away[row.id] > 1, f"{row} was given up, and its mark was not taken back twice"
                row.retry_at = self.clock.time()


class RelayThatBlocksUnderFire(RelayUnderFire):
    """The same, and the key of a dead letter waits for the operator."""

    blocks = True


@contextmanager
def machine(*, atomic: bool = False) -> Iterator[RelayUnderFire]:
    """Yield a world whose steps a test does itself; it comes to rest at the end."""
    one = RelayUnderFire()
    one.begin(atomic=atomic)
    with ExitStack() as otherwise:
        otherwise.callback(one.process.close)
        yield one
        otherwise.pop_all()
    one.teardown()


def _marks_vanish(world: RelayUnderFire) -> None:
    """A failover takes marks back, later than the stream remembers ids."""
    world.insert("orders.a", "a", 5)
    world.copy_to_the_standby()
    world.rest(3.0)
    world.promote_the_standby(3.0)


def _seqs_are_drawn_again(world: RelayUnderFire) -> None:
    """Events are read and not answered; a failover takes their rows back, and others draw their seqs."""
    world.copy_to_the_standby()
    world.insert("orders.a", "a", 5)
    world.broker.silent = True
    # Longer than the relay sleeps: they are in memory then.
    world.process.rest(1.2)
    assert world.copy is not None
    world.outbox.fail_over(world.copy)
    world.insert("orders.b", "a", 5)
    world.process.rest(0.3)
    world.broker.silent = False
    world.broker.cut()


def _a_row_ends_the_connection(world: RelayUnderFire) -> None:
    world.insert_what_ends_the_connection("a")


def _many_wait(world: RelayUnderFire) -> None:
    world.insert("nowhere.a", None, 30)
    world.insert("nowhere.b", None, 30)
    world.process.rest(5)
    world.nothing_that_waits_holds_up_what_could_flow()


def _one_stream_is_hidden_and_another_lost(world: RelayUnderFire) -> None:
    world.insert("orders.a", "a", 5)
    world.insert("ledger.a", "b", 5)
    world.process.rest(3)
    world.hide_or_show_a_stream("LEDGER")
    world.process.rest(3)
    world.lose_a_stream("ORDERS")
    world.process.rest(15)
    held = [one for one, _ in world.broker.streams["ORDERS"].messages.values()]
    assert len(held) == 5, "what ORDERS has lost is sent again, whatever may not be read beside it"


def _a_stream_stores_late(world: RelayUnderFire) -> None:
    """A stream without a quorum is searched in vain, stores what it has taken, and forgets its id at once."""
    world.process.rest(3)
    world.broker.lose_the_quorum("LEDGER")
    world.insert("ledger.a", "a", 1)
    world.process.rest(3)
    stream = world.broker.streams["LEDGER"]
    [(taken_at, _)] = stream.remembered.values()
    world.process.rest(taken_at + stream.window_s - 0.01 - world.clock.now)
    world.broker.regain_the_quorum("LEDGER")
    world.process.rest(10)


@pytest.mark.parametrize("silent_s", [1.0, 5.0])
@pytest.mark.parametrize("key", ["a", None])
@pytest.mark.parametrize("by", ["delete", "mark_by_hand"])
def test_an_event_in_doubt_whose_row_is_deleted_or_marked_by_hand_is_stored_once(
    by: str, key: str | None, silent_s: float
) -> None:
    with machine() as world:
        world.process.rest(3)
        world.insert("orders.a", key, 1)
        world.process.rest(3)
        # It is stored, and its answer is lost; the stream forgets its id meanwhile.
        world.broker.silent = True
        world.insert("orders.a", key, 1)
        world.process.rest(1.2)
        assert len(world.broker.streams["ORDERS"].messages) == 2
        getattr(world, by)(0)
        world.process.rest(silent_s)
        world.broker.silent = False
        world.broker.cut()
        world.process.rest(10)


def test_events_that_a_killed_relay_has_stored_and_not_marked_are_found_together() -> None:
    with machine() as world:
        world.process.rest(3)
        world.insert("orders.a", None, 1)
        world.process.rest(3)
        world.broker.silent = True
        world.insert("orders.a", None, 9)
        world.process.rest(1.2)
        assert len(world.broker.streams["ORDERS"].messages) == 10
        world.process.kill()
        world.broker.silent = False
        world.kill(3.0)
        world.process.rest(10)
        assert len(world.broker.streams["ORDERS"].messages) == 10


@pytest.mark.parametrize("by", ["delete", "mark_by_hand"])
def test_an_event_whose_mark_vanishes_and_whose_row_is_deleted_or_marked_before_the_search_is_stored_once(
    by: str,
) -> None:
    with machine() as world:
        world.process.rest(3)
        world.insert("orders.a", "a", 1)
        # It is sent and marked, and the standby that is promoted lacks the mark.
        world.copy_to_the_standby()
        world.process.rest(3)
        world.promote_the_standby(0.1)
        world.take_the_server_away(0.5)
        getattr(world, by)(0)
        world.process.rest(10)
        assert len(world.broker.streams["ORDERS"].messages) == 1


@pytest.mark.parametrize("answers", ["again", "over a new connection", "another relay"])
@pytest.mark.parametrize("silent_s", [1.2, 3.5])
def test_an_event_in_doubt_is_looked_for_in_a_stream_made_again_whose_rows_are_deleted(
    silent_s: float, answers: str
) -> None:
    """No row says any more that the stream is ours; the event itself does."""
    with machine() as world:
        world.process.rest(3)
        world.insert("orders.a", "a", 3)
        world.process.rest(3)
        world.lose_a_stream("ORDERS")
        world.truncate(restart=False)
        # It is looked at meanwhile, and nothing is pending.
        world.process.rest(3)
        world.broker.silent = True
        world.insert("orders.a", "a", 1)
        world.process.rest(silent_s)
        assert len(world.broker.streams["ORDERS"].messages) == 1
        world.broker.silent = False
        if answers == "over a new connection":
            world.broker.cut()
        elif answers == "another relay":
            world.kill(3.0)
        world.process.rest(20)
        assert len(world.broker.streams["ORDERS"].messages) == 1


@pytest.mark.parametrize("by", ["delete", "truncate"])
def test_an_event_in_doubt_is_looked_for_in_a_stream_that_was_set_back_before_its_first_look(by: str) -> None:
    with machine() as world:
        world.insert("orders.a", None, 1)
        until = world.clock.now + 5
        while world.outbox.now.rows[1].pending and world.clock.now < until:
            world.process.rest(0.01)
        world.roll_a_stream_back("ORDERS", 1)
        world.delete(0) if by == "delete" else world.truncate(restart=False)
        world.process.rest(1)
        world.broker.silent = True
        world.insert("orders.b", "b", 1)
        world.process.rest(3.5)
        assert len(world.broker.streams["ORDERS"].messages) == 1
        # Its row says by now that it goes where nothing can.
        world.alter(0, POISON, "b")
        world.broker.silent = False
        world.broker.cut()
        world.process.rest(10)
        assert len(world.broker.streams["ORDERS"].messages) == 1


def test_an_event_is_found_in_a_stream_that_was_set_back_before_its_first_look_although_it_goes_elsewhere_now() -> None:
    """Only that the stream was known from the first says that it is ours."""
    with machine() as world:
        world.insert("orders.a", None, 1)
        until = world.clock.now + 5
        while world.outbox.now.rows[1].pending and world.clock.now < until:
            world.process.rest(0.01)
        world.roll_a_stream_back("ORDERS", 1)
        world.delete(0)
        world.process.rest(1)
        world.broker.silent = True
        world.insert("orders.b", "b", 1)
        world.process.rest(1)
        assert len(world.broker.streams["ORDERS"].messages) == 1
        world.process.kill()
        world.alter(0, "ledger.altered", "b")
        world.broker.silent = False
        world.kill(3.0)
        world.process.rest(10)
        assert not world.broker.streams["LEDGER"].messages


def test_a_stream_made_again_is_looked_at_again_before_an_event_in_doubt_is_looked_for_there() -> None:
    """An atomic batch that is not answered opens no hold, so no probe looks at the stream."""
    with mock.patch.object(LossWatch, "next_look_at", return_value=float("inf")), machine(atomic=True) as world:
        world.process.rest(3)
        world.insert("orders.a", "a", 3)
        world.process.rest(3)
        world.lose_a_stream("ORDERS")
        world.truncate(restart=False)
        world.cut_the_connection()
        world.process.rest(3)
        # What is refused is looked up, and stores nothing: the stream is known to take batches.
        world.insert(WEIRD, None, 3)
        world.broker.weird = dict.fromkeys(world.broker.weird, 9)
        world.process.rest(0.1)
        world.truncate(restart=False)
        world.broker.silent = True
        world.insert("orders.a", None, 5)
        world.process.rest(1.2)
        assert len(world.broker.streams["ORDERS"].messages) == 5
        world.broker.silent = False
        world.process.rest(20)
        assert len(world.broker.streams["ORDERS"].messages) == 5


def test_the_steps_that_once_left_an_event_between_the_search_and_the_lanes() -> None:
    """An event in doubt is corrected to go to a stream that is not written down: that one is written down first."""
    state = RelayThatBlocksUnderFire()
    state.begin(atomic=False)
    state.rest(seconds=0.02)
    state.correct_in_a_transaction(key=None, rests_s=1.0, topic="orders.weird")
    state.take_the_mark_away_by_hand(number=59)
    state.fill_or_empty_a_stream(name="ORDERS")
    state.fill_or_empty_a_stream(name="LEDGER")
    state.insert_what_ends_the_connection(key="b")
    state.hide_or_show_a_stream(name="LEDGER")
    state.rest(seconds=0.02)
    state.take_the_mark_away_by_hand(number=44)
    state.alter(key=None, number=23, topic="orders.altered")
    state.fill_or_empty_a_stream(name="LEDGER")
    state.fill_or_empty_a_stream(name="ORDERS")
    state.correct_in_a_transaction(key=None, rests_s=1.0, topic="orders.weird")
    state.alter(key="b", number=89, topic="orders.altered")
    state.alter(key=None, number=9, topic="ledger.altered")
    state.retry_dead_letters()
    state.nothing_that_waits_holds_up_what_could_flow()
    state.alter(key="a", number=28, topic="orders.altered")
    state.fall_silent(silent_s=0.5)
    state.cut_the_database()
    state.hide_or_show_a_stream(name="LEDGER")
    state.take_the_mark_away_by_hand(number=77)
    state.hide_or_show_a_stream(name="LEDGER")
    state.fall_silent(silent_s=0.5)
    state.teardown()


def test_the_steps_that_once_ended_relays_for_ever() -> None:
    """What ends the relay lies behind the watermark, where no start after a crash looks."""
    state = RelayUnderFire()
    state.begin(atomic=False)
    state.insert_far_ahead(ahead=50, topic="orders.a")
    state.insert_far_ahead(ahead=50, topic="orders.a")
    state.insert_what_ends_the_process(key="a")
    state.insert_far_ahead(ahead=50, topic="orders.a")
    state.mark_by_hand(number=33)
    state.insert_far_ahead(ahead=50, topic="orders.a")
    state.delete(number=68)
    state.rest(seconds=3.0)
    state.take_the_mark_away_by_hand(number=10)
    state.teardown()


def test_what_ends_the_relay_is_told_from_what_lies_behind_the_watermark_beside_it() -> None:
    with machine() as world:
        world.insert("orders.a", "a", 5)
        world.insert_what_ends_the_process("b")
        world.insert("orders.b", None, 5)
        rows = list(world.outbox.now.rows.values())
        (deadly,) = (at for at, row in enumerate(rows) if row.payload == DEADLY)
        world.mark_by_hand(len(rows) - 1 - deadly)
        world.process.rest(3)
        for at in range(len(rows)):
            world.take_the_mark_away_by_hand(at)
        until = world.clock.now + 200
        while any(row.pending for row in rows) and world.clock.now < until:
            world.rest(1.0)
        assert [at for at, row in enumerate(rows) if row.dead_at is not None] == [deadly]
        assert [at for at, row in enumerate(rows) if row.delivered_at is None] == [deadly]


def test_the_steps_that_once_stored_an_event_twice() -> None:
    state = RelayThatBlocksUnderFire()
    state.begin(atomic=True)
    state.fill_or_empty_a_stream(name="LEDGER")
    state.cut_the_connection()
    state.nothing_that_waits_holds_up_what_could_flow()
    state.delete(number=0)
    state.roll_a_stream_back(lost=3, name="ORDERS")
    state.correct_in_a_transaction(key="b", rests_s=0.003, topic=POISON)
    state.fall_silent(silent_s=3.0)
    state.truncate(restart=True)
    state.nothing_that_waits_holds_up_what_could_flow()
    state.teardown()


def _remember(_: object, __: object) -> None:
    """See no change of the database."""


async def _unread(_: object, __: object, watched: Any) -> None:
    watched.searched_up_to(0)


def _due(self: LossWatch, watched: Any, connection: Any, now: float) -> bool:
    return not any(one.denied for one in self._streams) and _DUE(self, watched, connection, now)


_DUE = LossWatch.due
# For each mend a world in which it matters, and what takes it out.
MENDS: dict[str, tuple[Callable[[RelayUnderFire], None], list[tuple[object, str, object]]]] = {
    "A1": (
        _seqs_are_drawn_again,
        [
            (DatabaseState, "change_to", _remember),
            (Fetcher, "_generation", property(lambda self: self._reader.generation, lambda *_: None)),
        ],
    ),
    "A2": (_marks_vanish, [(TailSearch, "read", _unread)]),
    "G4": (
        _a_stream_stores_late,
        [(InDoubt, "miss", InDoubt.resolve), (InDoubt, "let_go", lambda self, seq, _: self.resolve(seq))],
    ),
    "B1": (_a_row_ends_the_connection, [(ConnectionSuspects, "ended", lambda *_: ([], []))]),
    "B2": (
        _many_wait,
        [(InHand, "can_flow", lambda self: len(self.unsettled.in_memory)), (InHand, "may_not_wait", lambda _: False)],
    ),
    "C1": (_one_stream_is_hidden_and_another_lost, [(LossWatch, "due", _due)]),
}


@pytest.mark.parametrize("mend", MENDS)
def test_a_world_in_which_a_mend_matters_keeps_the_laws(mend: str) -> None:
    with machine() as world:
        MENDS[mend][0](world)


@pytest.mark.parametrize("mend", MENDS)
def test_a_relay_with_a_mend_taken_out_breaks_a_law(mend: str) -> None:
    act, mutant = MENDS[mend]
    with ExitStack() as stack:
        for owner, name, by in mutant:
            stack.enter_context(mock.patch.object(owner, name, by, create=name == "_generation"))
        with pytest.raises(AssertionError):
            _live(act, by_seq_alone=mend == "A1")


def _live(act: Callable[[RelayUnderFire], None], *, by_seq_alone: bool) -> None:
    # By chance a search may fall into the one moment in which it helps.
    for _ in range(5):
        with machine() as world:
            world.outbox.by_seq_alone = by_seq_alone
            act(world)


def test_a_row_that_is_drawn_below_one_far_ahead_holds_the_watermark_from_the_first_moment() -> None:
    with machine() as world:
        world.process.rest(3)
        for twentieth in range(40):
            world.insert_far_ahead(50, "orders.a")
            world.process.rest(twentieth / 20)
            world.insert_without_commit("orders.a", None)
            world.process.rest(1)
            world.end(0, commit=False)


@pytest.mark.parametrize("topic", [POISON, WEIRD])
@pytest.mark.parametrize("key", ["a", None])
def test_a_row_that_is_corrected_after_its_refusal_and_before_that_is_written_is_sent_as_it_is(
    topic: str, key: str | None
) -> None:
    with machine() as world:
        world.process.rest(3)
        world.correct_in_a_transaction(key, topic, 0.0)
        world.insert("orders.a", key, 2)
        world.process.rest(3)
        assert all(row.delivered_at is not None and row.attempts == 0 for row in world.outbox.now.rows.values())


def test_an_event_in_doubt_whose_topic_is_corrected_to_one_of_a_stream_is_delivered() -> None:
    """It was sent to no stream that is known, so none is searched for it, again and again."""
    with machine() as world:
        for tenths in range(60, 80, 2):
            world.correct_in_a_transaction(None, HOMELESS[0], 0.0)
            world.fall_silent(tenths / 10)
            world.rest(3.0)
        world.rest(10.0)
        assert all(row.delivered_at is not None for row in world.outbox.now.rows.values())


# The same ones each time, so that a change is to blame for a failure; others, and more, if they are asked for.
_MORE = os.environ.get("MODEL_EXAMPLES")
# Those may take as long as they like.
_EXAMPLES = examples(max_examples=int(_MORE or 30), stateful_step_count=25, deadline=None, derandomize=_MORE is None)
TestRelayUnderFire = pytest.mark.timeout(0 if _MORE else 120)(RelayUnderFire.TestCase)
TestRelayThatBlocksUnderFire = pytest.mark.timeout(0 if _MORE else 120)(RelayThatBlocksUnderFire.TestCase)
TestRelayUnderFire.settings = TestRelayThatBlocksUnderFire.settings = _EXAMPLES
