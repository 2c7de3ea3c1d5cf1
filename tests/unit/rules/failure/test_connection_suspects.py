"""The search for the event that ends the connection: it is found, alone, and nobody else is blamed."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.event import Event
from relay.rules.failure.connection_suspects import ConnectionSuspects

WORDS = "nats: 'Maximum Payload Violation'"


def event(seq: int) -> Event:
    return Event(seq, f"id-{seq}", "orders.a", None, b"{}", None, 0.0, 0, None)


class World:
    """A sender of one event after the other through windows, and a server that ends connections."""

    def __init__(self, pending: list[int], deadly: set[int], window: int) -> None:
        self.rule = ConnectionSuspects()
        self.pending = pending
        self.deadly = deadly
        self.window = window
        self.stored: list[int] = []
        self.guilty: list[int] = []
        self.ends = 0
        self.now = 0.0
        self.turn_s = 100.0
        self.rule.stands(self.now)

    def turn(self, reason: str) -> None:
        """Send what may go, and have it answered up to the one that ends the connection."""
        retry = self.rule.next_retry(self.now)
        if retry is not None:
            self.pending.insert(0, retry.seq)
        allowed = self.rule.allowance(0)
        sent = self.pending[: self.window if allowed is None else min(allowed, self.window)]
        del self.pending[: len(sent)]
        at = next((at for at, seq in enumerate(sent) if seq in self.deadly), None)
        answered = sent if at is None else sent[:at]
        # Answers on their way are lost with the connection.
        answered = answered if at is None else answered[: len(answered) // 2]
        self.rule.answered(answered)
        self.stored += answered
        if at is not None:
            self.ends += 1
            left = [event(seq) for seq in sent[len(answered) :]]
            aside, guilty = self.rule.ended(left, reason)
            self.guilty += [one.seq for one in guilty]
            self.pending[:0] = [one.seq for one in left if one not in aside and one not in guilty]
            self.rule.stands(self.now)
        self.now += self.turn_s


@settings(max_examples=200)
@given(st.integers(1, 400), st.sets(st.integers(0, 399), max_size=3), st.sampled_from([1, 7, 100, 1000]))
def test_exactly_the_events_that_end_connections_are_found(count: int, wanted: set[int], window: int) -> None:
    deadly = {seq for seq in wanted if seq < count}
    world = World(list(range(count)), deadly, window)
    for _ in range(4000):
        if len(world.stored) + len(world.guilty) == count:
            break
        world.turn(WORDS)
    assert set(world.guilty) == deadly
    assert sorted(world.stored) == [seq for seq in range(count) if seq not in deadly], "and all others are stored once"
    assert world.ends <= len(deadly) * 12, "soon"
    assert not world.rule, "nothing is left behind"


@settings(max_examples=200)
@given(st.integers(2, 30), st.integers(2, 3), st.sampled_from([1, 2, 7]), st.randoms(use_true_random=False))
def test_they_are_found_in_whatever_order_the_unanswered_ones_go_again(
    count: int, deadly: int, window: int, chance: Random
) -> None:
    """Those that are looked for in their stream first come back later than the others."""
    world = World(list(range(count)), set(range(min(count, deadly))), window)
    for _ in range(1000):
        if len(world.stored) + len(world.guilty) == count:
            break
        world.turn(WORDS)
        chance.shuffle(world.pending)
    assert set(world.guilty) == world.deadly
    assert not world.rule, "nothing is left behind"


def test_two_events_that_end_the_connection_by_turns_do_not_clear_each_other() -> None:
    rule = ConnectionSuspects()
    assert rule.ended([event(2)], WORDS) == ([], [])
    pending, later, guilty = [event(3)], [event(2)], list[Event]()
    for turn in range(60):
        now = 100.0 * turn
        rule.stands(now)
        retry = rule.next_retry(now + 99)
        pending = [*([] if retry is None else [retry]), *pending, *later]
        sent = pending[: rule.allowance(0) or 2]
        if not sent:
            break
        aside, found = rule.ended(sent, WORDS)
        back = [one for one in sent if one not in aside and one not in found]
        # What goes alone is looked for in its stream before it goes again, and another one is sent first.
        alone = len(sent) == 1
        pending, later = pending[len(sent) :] + ([] if alone else back), back if alone else []
        guilty += found
    assert {one.seq for one in guilty} == {2, 3}
    assert not rule


def test_a_server_that_ends_at_everything_and_says_nothing_convicts_nobody() -> None:
    world = World(list(range(20)), set(range(20)), 7)
    for _ in range(1000):
        world.turn("nats: unexpected EOF")
    assert world.guilty == []


def test_without_words_an_event_is_guilty_only_if_others_are_stored_in_between() -> None:
    world = World([0], {0}, 10)
    for _ in range(100):
        world.turn("nats: unexpected EOF")
    assert not world.guilty
    world.turn_s = 20.0  # shorter than the time for which others flow between two trials
    for seq in range(1, 100):
        world.pending.append(seq)
        world.turn("nats: unexpected EOF")
    assert world.guilty == [0]


def test_an_end_with_nothing_in_flight_clears_who_is_kept_aside() -> None:
    rule = ConnectionSuspects()
    rule.stands(0)
    rule.ended([event(1)], "gone")
    for _ in range(10):
        aside, guilty = rule.ended([event(1)], WORDS)
        assert (len(aside), guilty) == (1, [])
        rule.stands(0)
        rule.ended([], "gone")
        rule.stands(0)
        assert rule.next_retry(1000.0) == event(1)


def test_others_flow_for_a_while_before_the_next_retry() -> None:
    rule = ConnectionSuspects()
    rule.ended([event(1)], "gone")
    rule.ended([event(1)], "gone")
    assert rule.next_retry(1000.0) is None, "not without a connection"
    rule.stands(1000.0)
    assert rule.next_retry(1001.0) is None
    assert rule.allowance(5) is None
    assert rule.next_retry(1002.0) == event(1)
    assert rule.allowance(5) == 0, "alone"
    assert rule.allowance(0) == 1
