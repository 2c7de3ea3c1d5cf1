"""What a term has in hand: each event is in one place, and the watermark never passes one that is not settled."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.event import Event
from relay.outcomes import FailureClass
from relay.rules.database.database_state import DatabaseState
from relay.rules.failure.holds import Holds
from relay.rules.in_hand import InHand, Limits
from relay.rules.order.lanes import Lanes
from relay.rules.sending.in_flight import Batch


class Flag:
    """A signal that nobody waits for."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    async def wait(self) -> object:
        return self._is_set


def event(seq: int, key: str | None = None, payload: bytes = b"{}") -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", key, payload, None, 1000.0 + seq, 0, None)


def hand(
    *, events: int = 100, payload_bytes: int = 1000, waiting: int = 3, unmarked: int = 1000, watermark: int = 0
) -> InHand:
    return InHand(
        lanes=Lanes(stuck_limit=waiting),
        holds=Holds(base_s=1, max_s=10),
        limits=Limits(events, payload_bytes, waiting, unmarked),
        signal=Flag,
        watermark=watermark,
        database=DatabaseState("this", watermark, watermark),
    )


def take_in(in_hand: InHand, *events: Event) -> None:
    in_hand.read_up_to(max(event.seq for event in events))
    in_hand.drop(in_hand.lanes.offer(in_hand.unsettled.take_in(list(events))))


def test_the_watermark_stands_at_the_cursor_while_nothing_is_unsettled() -> None:
    in_hand = hand(watermark=7)
    assert in_hand.watermark() == 7
    in_hand.read_up_to(9)
    assert in_hand.watermark() == 9


def test_a_gap_and_what_is_read_again_hold_the_watermark() -> None:
    in_hand = hand()
    in_hand.gaps.passed(0, [1, 3], 3)
    in_hand.read_up_to(3)
    assert in_hand.watermark() == 1
    in_hand.gaps.found([(2, 2)])
    assert in_hand.watermark() == 3
    in_hand.lanes.drop(event(2))
    assert in_hand.watermark() == 1
    in_hand.begin_backfill()
    assert (in_hand.backfilling, in_hand.watermark()) == (2, 1)
    in_hand.backfilled_up_to(2)
    assert in_hand.watermark() == 2
    in_hand.backfilled_up_to(3)
    assert (in_hand.backfilling, in_hand.watermark()) == (None, 3)


def test_a_rewind_forgets_gaps_and_keeps_what_is_in_memory() -> None:
    in_hand = hand()
    take_in(in_hand, event(5))
    in_hand.gaps.passed(5, [], 9)
    in_hand.rewind(3, 8)
    assert (in_hand.cursor, in_hand.newest, in_hand.watermark()) == (3, 8, 3)
    assert in_hand.unsettled.has(5) and not len(in_hand.gaps)


def test_a_rewind_never_moves_the_cursor_forward() -> None:
    in_hand = hand(watermark=3)
    in_hand.rewind(9, 9)
    assert in_hand.cursor == 3


def test_what_cannot_be_sent_takes_no_room() -> None:
    in_hand = hand(events=2)
    take_in(in_hand, event(1, "a"), event(2, "a"), event(3, "a"))
    assert not in_hand.has_room()
    in_hand.lanes.take(1)
    in_hand.lanes.stick_key("a")
    assert (in_hand.waiting(), in_hand.can_flow()) == (2, 1)
    assert in_hand.has_room()


def test_no_more_events_wait_once_half_the_bytes_do() -> None:
    in_hand = hand(payload_bytes=50, waiting=100)
    hold, _ = in_hand.holds.fail("subject x", FailureClass.CAPACITY, "full", event(1), 0.0, 0.0)
    take_in(in_hand, event(1, payload=b"x" * 10), event(2, payload=b"x"))
    in_hand.holds.park(hold, event(1, payload=b"x" * 10))
    assert not in_hand.may_not_wait()
    in_hand.holds.park(hold, event(2, payload=b"x"))
    assert in_hand.is_crowded() and in_hand.may_not_wait()


def test_the_bytes_of_what_cannot_be_sent_take_no_room() -> None:
    in_hand = hand(payload_bytes=60, waiting=100)
    large = event(1, "a", payload=b"x" * 50)
    take_in(in_hand, event(0, "a"), large)
    assert not in_hand.has_room()
    in_hand.lanes.take(1)
    in_hand.lanes.stick_key("a")
    assert in_hand.has_room()
    assert in_hand.waiting_bytes() == large.size
    in_hand.lanes.release_key("a")
    assert in_hand.waiting_bytes() == 0
    assert not in_hand.has_room()


def test_what_should_flow_is_known_beside_what_is_held() -> None:
    in_hand = hand(events=2)
    hold, _ = in_hand.holds.fail("subject x", FailureClass.CAPACITY, "full", event(1), 0.0, 0.0)
    take_in(in_hand, event(1))
    in_hand.lanes.take(1)
    in_hand.holds.park(hold, event(1))
    assert not in_hand.should_flow()
    (probe,) = in_hand.holds.due(100.0)
    in_hand.in_flight[probe.seq] = (probe, "x", 0.0)
    assert not in_hand.should_flow(), "a probe alone proves nothing"
    take_in(in_hand, event(2))
    assert in_hand.should_flow()
    in_hand.lanes.take(1)
    in_hand.in_flight[2] = (event(2), "y", 0.0)
    assert in_hand.should_flow()


def store_unmarked(in_hand: InHand, *events: Event) -> None:
    """Let events be stored, and none of them be marked."""
    take_in(in_hand, *events)
    for one in in_hand.lanes.take(len(events)):
        in_hand.acknowledged([(one, "ORDERS", one.seq, False, 2.0)])
        in_hand.lanes.release(one)
    in_hand.begin_marking(len(events))
    in_hand.marked({one.seq for one in events})


def test_what_is_stored_and_cannot_be_marked_takes_no_room_and_keeps_the_watermark() -> None:
    in_hand = hand(events=2, payload_bytes=60)
    store_unmarked(in_hand, event(1, payload=b"x" * 50), event(2, payload=b"x" * 50), event(3))
    assert in_hand.has_room() and in_hand.room.is_set() and not in_hand.should_flow()
    assert (in_hand.can_flow(), in_hand.unsettled.payload_bytes, in_hand.watermark()) == (0, 0, 0)
    assert in_hand.sent_unmarked() == {1, 2, 3}
    assert [one[0].payload for one in in_hand.mark_again()] == [b"", b"", b""]
    assert len(in_hand.aside) == 3, "they are counted while they are tried"
    in_hand.marked({2})
    assert (len(in_hand.aside), in_hand.watermark(), in_hand.sent_unmarked()) == (1, 1, {2})
    assert [one[0].id for one in in_hand.mark_again()] == ["id-2"]
    in_hand.marked()
    assert (len(in_hand.aside), in_hand.watermark(), in_hand.can_flow()) == (0, 3, 0)


def test_beyond_a_bound_of_what_cannot_be_marked_nothing_is_read_and_it_is_no_stall() -> None:
    in_hand = hand(unmarked=2)
    store_unmarked(in_hand, event(1))
    assert in_hand.has_room()
    store_unmarked(in_hand, event(2))
    assert not in_hand.has_room() and not in_hand.should_flow()
    in_hand.mark_again()
    in_hand.marked({2})
    assert in_hand.has_room()


def test_an_ended_hold_wakes_who_sends_and_lets_what_was_dropped_be_read_again() -> None:
    in_hand = hand()
    assert not in_hand.can_backfill()
    in_hand.resume([event(1)])
    assert in_hand.can_backfill() and in_hand.lanes.take(1) == [event(1)]
    in_hand.begin_backfill()
    assert not in_hand.can_backfill()


def test_what_is_newer_of_a_key_that_is_read_again_is_left_to_that_reading() -> None:
    in_hand = hand()
    take_in(in_hand, event(2, "k"))
    in_hand.read_up_to(9)
    in_hand.lanes.take(1)
    in_hand.drop(in_hand.lanes.drop_head(event(2, "k")))
    in_hand.begin_backfill()
    other = event(5, "other")
    assert in_hand.comes_again(event(2, "k")) and in_hand.comes_again(event(8, "k"))
    assert not in_hand.comes_again(other)
    in_hand.backfilled_up_to(4)
    assert not in_hand.comes_again(event(4, "k")) and in_hand.comes_again(event(5, "k"))
    in_hand.backfilled_up_to(9)
    assert not in_hand.comes_again(event(9, "k"))


def test_all_that_is_read_from_the_watermark_on_is_left_to_no_other_reading() -> None:
    in_hand = hand()
    take_in(in_hand, event(5, "k"))
    in_hand.read_up_to(9)
    in_hand.lanes.take(1)
    in_hand.drop(in_hand.lanes.drop_head(event(5, "k")))
    in_hand.begin_backfill()
    in_hand.rewind(4, 9)
    assert in_hand.backfilling is None and not in_hand.comes_again(event(8, "k"))


def test_all_in_flight_comes_back_in_the_order_of_seq_with_the_time_it_was_sent() -> None:
    in_hand = hand()
    in_hand.in_flight[4] = (event(4), "orders.placed", 7.0)
    in_hand.batches[1] = Batch("ORDERS", [event(3), event(5)], frozenset(["orders.placed"]), frozenset(), 6.0)
    assert in_hand.in_flight_count() == 3
    assert in_hand.sent_unmarked() == {3, 4, 5}
    assert list(in_hand.take_in_flight()) == [(event(3), 6.0), (event(4), 7.0), (event(5), 6.0)]
    assert in_hand.in_flight_count() == 0


class Story(RuleBasedStateMachine):
    """Events are fetched, sent, answered and marked in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.in_hand = hand(events=1000, payload_bytes=10_000, waiting=1000)
        self.next_seq = 1
        self.settled: set[int] = set()
        self.keys: dict[int, str | None] = {}

    @rule(count=st.integers(1, 5), key=st.sampled_from(["a", "b", None]))
    def fetch(self, count: int, key: str | None) -> None:
        events = [event(seq, key) for seq in range(self.next_seq, self.next_seq + count)]
        self.next_seq += count
        self.keys.update((one.seq, key) for one in events)
        take_in(self.in_hand, *events)

    @precondition(lambda self: len(self.in_hand.lanes) > 0)
    @rule(limit=st.integers(1, 4))
    def send(self, limit: int) -> None:
        for one in self.in_hand.lanes.take(limit):
            self.in_hand.in_flight[one.seq] = (one, one.topic, 1.0)

    @precondition(lambda self: bool(self.in_hand.in_flight))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.in_hand.in_flight)))
        one, _, _ = self.in_hand.in_flight.pop(seq)
        self.in_hand.acknowledged([(one, "ORDERS", seq, False, 2.0)])
        self.in_hand.lanes.release(one)

    @rule()
    def lose_the_connection(self) -> None:
        self.in_hand.lanes.put_back([one for one, _ in self.in_hand.take_in_flight()], alone=True)

    @precondition(lambda self: self.in_hand.to_mark() > 0)
    @rule(limit=st.integers(1, 3))
    def mark(self, limit: int) -> None:
        batch = self.in_hand.begin_marking(limit)
        self.settled |= {one[0].seq for one in batch}
        self.in_hand.marked()

    @precondition(lambda self: self.in_hand.to_mark() > 0 or len(self.in_hand.aside) > 0)
    @rule(again=st.booleans(), data=st.data())
    def mark_some(self, again: bool, data: st.DataObject) -> None:
        batch = self.in_hand.mark_again() if again else self.in_hand.begin_marking(5)
        seqs = {one[0].seq for one in batch}
        left = data.draw(st.sets(st.sampled_from(sorted(seqs)))) if seqs else set()
        self.in_hand.marked(left)
        self.settled |= seqs - left

    @invariant()
    def what_takes_room_is_what_is_not_set_aside(self) -> None:
        known, aside = self.in_hand.unsettled.in_memory, set(self.in_hand.aside.seqs)
        assert aside <= known.keys()
        assert self.in_hand.can_flow() == len(known) - len(aside)
        sizes = [event(seq, self.keys[seq]).size for seq in known.keys() - aside]
        assert self.in_hand.unsettled.payload_bytes == sum(sizes)

    @invariant()
    def the_watermark_is_below_the_first_unsettled(self) -> None:
        unsettled = set(range(1, self.next_seq)) - self.settled
        assert self.in_hand.watermark() == min(unsettled, default=self.next_seq) - 1

    @invariant()
    def what_was_sent_is_unsettled(self) -> None:
        assert self.in_hand.sent_unmarked().isdisjoint(self.settled)
        assert self.in_hand.backlog(1.0) == self.next_seq - 1 - len(self.settled)


TestStory = Story.TestCase


def test_a_row_far_ahead_neither_keeps_the_cursor_there_nor_makes_gaps_of_what_is_yet_to_be_drawn() -> None:
    in_hand = hand(watermark=10)
    in_hand.saw(DatabaseState("this", 12, 12), 0.0)
    in_hand.gaps.passed(10, [12, 10**12], 10**12)
    in_hand.read_up_to(10**12)
    in_hand.saw(DatabaseState("this", 10**12, 14), 0.0)
    assert (in_hand.cursor, in_hand.watermark(), in_hand.gaps.ask()) == (14, 10, ([11, 13], [11, 14]))
    in_hand.gaps.found([(11, 11), (13, 14)])
    # What was read since, up to the sequence, is not read again: nothing would be found, and nothing move the cursor.
    in_hand.read_up_to(15)
    in_hand.saw(DatabaseState("this", 10**12, 15), 0.0)
    assert (in_hand.cursor, in_hand.watermark()) == (15, 15)
    in_hand.saw(DatabaseState("this", 10**12, 15), 0.0)
    assert (in_hand.cursor, in_hand.watermark()) == (15, 15)
    # It is no reason to call the outbox 10^12 events behind, or incomplete once it is settled itself.
    assert (in_hand.backlog(1.0), in_hand.rows_settled_up_to()) == (0, 10**12)


def test_a_postponed_event_whose_row_has_changed_is_read_again_with_all_that_waits_of_both_of_its_keys() -> None:
    in_hand = hand()
    take_in(in_hand, event(1, "a"), event(2, "a"), event(3, "b"), event(4, "b"), event(5, "c"))
    first, other, free = in_hand.lanes.take(3)
    for one in (first, other):
        in_hand.lanes.stick(one)
        in_hand.unsettled.postpone(one)
    in_hand.lanes.release(free)
    in_hand.unsettled.forget([free])
    assert in_hand.read_decided_again(first, {"b"}) == 3, "and not the head of b, which waits in the outbox"
    assert in_hand.can_backfill()
    in_hand.begin_backfill()
    assert (in_hand.backfilling, in_hand.watermark()) == (1, 0)
    with in_hand.unsettled.reading():
        take_in(in_hand, event(1, "b"), event(2, "a"), event(4, "b"))
    assert [one.seq for one in in_hand.lanes.take(9)] == [2]
    in_hand.lanes.release_key("b")
    assert [one.seq for one in in_hand.lanes.take(9)] == [1]
    in_hand.lanes.release_key("b")
    assert [one.seq for one in in_hand.lanes.take(9)] == [4]


def test_a_key_waits_until_the_death_of_its_event_is_written() -> None:
    in_hand = hand()
    take_in(in_hand, event(1, "a"), event(2, "a"), event(3, "b"))
    dead, other = in_hand.lanes.take(9)
    in_hand.bury(dead)
    in_hand.lanes.release(other)
    assert (in_hand.lanes.take(9), in_hand.waiting()) == ([], 1)
    in_hand.buried(dead)
    assert ([one.seq for one in in_hand.lanes.take(9)], in_hand.waiting()) == ([2], 0)
    assert in_hand.read_decided_again(dead, {"a"}) == 0, "it is settled"


def test_an_event_whose_row_has_changed_before_its_death_is_the_first_of_its_key_again() -> None:
    in_hand = hand()
    take_in(in_hand, event(1, "a"), event(2, "a"))
    (dead,) = in_hand.lanes.take(9)
    in_hand.bury(dead)
    assert in_hand.read_decided_again(dead, {"a"}) == 2
    assert in_hand.lanes.take(9) == []
    in_hand.begin_backfill()
    with in_hand.unsettled.reading():
        take_in(in_hand, event(1, "a"), event(2, "a"))
    assert [one.seq for one in in_hand.lanes.take(9)] == [1]
    in_hand.lanes.release_key("a")
    assert [one.seq for one in in_hand.lanes.take(9)] == [2]


def test_a_dead_letter_that_is_none_after_all_is_the_first_of_its_key_again() -> None:
    in_hand = hand()
    take_in(in_hand, event(1, "a"), event(2, "a"))
    (dead,) = in_hand.lanes.take(9)
    in_hand.unsettled.block(dead.seq, "a")
    in_hand.lanes.bar("a")
    in_hand.bury(dead)
    assert in_hand.read_decided_again(dead, {"a"}) == 2
    assert in_hand.unsettled.blocked == {}
    in_hand.begin_backfill()
    with in_hand.unsettled.reading():
        take_in(in_hand, event(1, "a"), event(2, "a"))
    assert [one.seq for one in in_hand.lanes.take(9)] == [1]


def test_what_was_taken_in_again_already_or_is_settled_is_not_read_again_for_a_change() -> None:
    in_hand = hand()
    take_in(in_hand, event(1, "a"))
    (taken,) = in_hand.lanes.take(1)
    in_hand.unsettled.forget([taken])
    assert in_hand.read_decided_again(taken, {"a"}) == 0
    assert not in_hand.can_backfill()
