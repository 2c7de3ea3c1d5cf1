"""Lanes under everything that a publisher, holds and a fetcher do with them, in any order."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.event import Event
from relay.rules.order.lanes import Lanes

KEYS = ("a", "b", "c", None)


def event(seq: int, key: str | None = "a") -> Event:
    return Event(seq, f"id-{seq}", "orders.placed", key, b"{}", None, 0.0, 0, False)


class LanesUnderFire(RuleBasedStateMachine):
    """A publisher, holds and a fetcher at work on lanes, against what each key should be.

    Attributes:
        memory: What was taken in and is not settled, in the order in which it has to leave, for each key.
        free: The same of events without a key.
        out: Sent: single events, and batches with runs.
        parked: Heads that wait; their lanes are stuck.
        blocked: Keys that wait for the operator since before their first event.
        through: Events of these that were let through and are not settled.
        left: Events of these that were dropped after that, and are to be let through again.
        outbox: What was dropped, and is to be read again.
        position: How far a reading again has come; None: none is under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(stuck_limit=3)
        self.last_seq = 0
        self.late: list[int] = []
        self.memory: dict[str, list[Event]] = {}
        self.free: set[Event] = set()
        self.out: list[list[Event]] = []
        self.parked: list[Event] = []
        self.alone: set[Event] = set()
        self.blocked: set[str] = set()
        self.through: dict[str, Event] = {}
        self.given_back = 0
        self.left: dict[str, Event] = {}
        self.outbox: dict[int, Event] = {}
        self.position: int | None = None
        self.hold_ended = False
        self.headless: set[str] = set()
        self.ended: list[int] = []

    @initialize(keys=st.sets(st.sampled_from(["a", "b"])))
    def find_blocked(self, keys: set[str]) -> None:
        for key in keys:
            self.lanes.bar(key)
        self.blocked = set(keys)

    def _take_in(self, events: list[Event], *, crowded: bool) -> None:
        left = [one for one in events if self.position is not None and one.seq > self.position]
        left = [one for one in left if self.lanes.returns(one.key)]
        self.outbox.update({one.seq: one for one in left})
        events = [one for one in events if one not in left]
        before = self.lanes.stuck_events
        dropped = self.lanes.offer(events, crowded=crowded)
        assert self.lanes.stuck_events <= max(before, 0 if crowded else 3)
        for one in events:
            if one in dropped:
                assert one.key is not None
                self.outbox[one.seq] = one
            elif one.key is None:
                self.free.add(one)
            else:
                overtaken = [
                    seq
                    for seq, other in self.outbox.items()
                    if other.key == one.key and (self.position is None or seq < one.seq)
                ]
                assert not overtaken
                self.memory.setdefault(one.key, []).append(one)

    @rule(
        keys=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 3)), min_size=1, max_size=6),
        crowded=st.booleans(),
    )
    def offer(self, keys: list[tuple[str | None, int]], crowded: bool) -> None:
        events = []
        for key, step in keys:
            self.late += range(self.last_seq + 1, self.last_seq + step)
            self.last_seq += step
            events.append(event(self.last_seq, key))
        self._take_in(events, crowded=crowded)

    @precondition(lambda self: self.late)
    @rule(which=st.integers(0, 99), key=st.sampled_from(KEYS))
    def offer_a_late_commit(self, which: int, key: str | None) -> None:
        self._take_in([event(self.late.pop(which % len(self.late)), key)], crowded=False)

    @precondition(lambda self: self.position is None)
    @rule()
    def begin_again(self) -> None:
        start = self.lanes.begin_again()
        self.hold_ended = False
        self.headless.clear()
        if self.outbox:
            assert start is not None and start <= min(self.outbox)
            self.position = start - 1
        else:
            self.lanes.all_again()

    @precondition(lambda self: self.position is not None)
    @rule(limit=st.integers(1, 4), crowded=st.booleans())
    def read_again(self, limit: int, crowded: bool) -> None:
        assert self.position is not None
        found = sorted(seq for seq in self.outbox if seq > self.position)[:limit]
        events = [self.outbox.pop(seq) for seq in found]
        for one in events:
            # One after another, so that what is checked is the state in which each is offered.
            self.position = one.seq
            self._take_in([one], crowded=crowded)
        if len(found) < limit:
            self.position = None
            self.lanes.all_again()

    def _check_taken(self, batch: list[Event]) -> None:
        elsewhere = [one for other in self.out for one in other] + self.parked
        for key in {one.key for one in batch if one.key is not None}:
            run = [one for one in batch if one.key == key]
            assert run == self.memory[key][: len(run)]
            assert key not in {one.key for one in elsewhere}
            if key in self.blocked:
                assert run == [self.through[key]]
        for one in batch:
            assert one.key is not None or (one in self.free and one not in elsewhere)

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        taken = self.lanes.take(limit)
        assert len(taken) <= limit
        alone = [one in self.alone for one in taken]
        assert alone == sorted(alone, reverse=True)
        for one in taken:
            self._check_taken([one])
            self.out.append([one])
            self.alone.discard(one)

    @rule(limit=st.integers(1, 6), fits=st.none() | st.lists(st.booleans(), min_size=6, max_size=6))
    def take_a_batch(self, limit: int, fits: list[bool] | None) -> None:
        ready, (events, longest_run) = len(self.lanes) - len(self.alone), self.lanes.next_batch(limit)
        batch = self.lanes.take_runs(limit)
        assert len(batch) == events <= limit
        of_one_key = max(Counter(one.key or one for one in batch).values(), default=0)
        assert longest_run >= of_one_key if ready < limit else longest_run == 1
        if events < limit:
            assert longest_run == of_one_key
        assert not self.alone & set(batch)
        self._check_taken(batch)
        if batch and fits is not None:
            batch = self._cut(batch, fits)
        if batch:
            self.out.append(batch)

    def _cut(self, batch: list[Event], fits: list[bool]) -> list[Event]:
        """Send the first event and those that fit; the rest goes back, as the publisher does it."""
        sent, left = [batch[0]], []
        cut: set[str] = set()
        for one, fitting in zip(batch[1:], fits, strict=False):
            if fitting and one.key not in cut:
                sent.append(one)
            else:
                left.append(one)
                if one.key is not None:
                    cut.add(one.key)
        keys = {one.key for one in sent if one.key is not None}
        self.lanes.requeue([one for one in left if one.key in keys])
        self._back([one for one in left if one.key not in keys], alone=False)
        return sent

    def _strike(self, one: Event) -> None:
        self.ended.append(one.seq)
        if one.key is None:
            self.free.remove(one)
        else:
            assert self.memory[one.key].pop(0) == one
            if not self.memory[one.key]:
                del self.memory[one.key]

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 99))
    def settle(self, which: int) -> None:
        batch = self.out.pop(which % len(self.out))
        for one in batch:
            self._strike(one)
        for key in {one.key for one in batch if one.key is not None}:
            self.lanes.release_key(key)
            self.through.pop(key, None)

    def _back(self, events: list[Event], *, alone: bool) -> None:
        self.lanes.put_back(events, alone=alone)
        if alone or any(one.key in self.blocked for one in events):
            first = {one.key: one for one in reversed(events) if one.key is not None}
            self.alone.update([*first.values(), *(one for one in events if one.key is None)])

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 99), alone=st.booleans())
    def put_back(self, which: int, alone: bool) -> None:
        self._back(self.out.pop(which % len(self.out)), alone=alone)

    @rule()
    def lose_the_connection(self) -> None:
        self._back([one for batch in self.out for one in batch], alone=True)
        self.out.clear()

    def _pop_single(self, which: int) -> Event:
        singles = [batch for batch in self.out if len(batch) == 1]
        batch = singles[which % len(singles)]
        self.out.remove(batch)
        return batch[0]

    @precondition(lambda self: any(len(batch) == 1 for batch in self.out))
    @rule(which=st.integers(0, 99))
    def park(self, which: int) -> None:
        one = self._pop_single(which)
        self.lanes.stick(one)
        self.parked.append(one)

    @precondition(lambda self: any(len(batch) == 1 for batch in self.out))
    @rule(which=st.integers(0, 99))
    def drop_head(self, which: int) -> None:
        one = self._pop_single(which)
        dropped = self.lanes.drop_head(one)
        if one.key is None:
            assert dropped == [one]
            self.free.remove(one)
        else:
            assert dropped == self.memory.pop(one.key)
            was_through = self.through.pop(one.key, None) is not None
            if was_through and one.seq < 0:
                self.left[one.key] = dropped.pop(0)
            elif not was_through:
                self.headless.add(one.key)
        self.outbox.update((other.seq, other) for other in dropped)
        self.hold_ended = True

    @rule(key=st.sampled_from(["a", "b", "c"]))
    def drop_queue(self, key: str) -> None:
        dropped = self.lanes.drop_queue(key)
        in_memory = self.memory.pop(key, [])
        if any(one.key == key for one in self.parked):
            kept = in_memory[:1]
        else:
            kept = [] if key in self.blocked - self.through.keys() else in_memory
        if kept:
            self.memory[key] = kept
        assert dropped == in_memory[len(kept) :]
        self.outbox.update((other.seq, other) for other in dropped)
        self.hold_ended = self.hold_ended or bool(dropped)

    @precondition(lambda self: self.parked)
    @rule(which=st.integers(0, 99))
    def resume(self, which: int) -> None:
        self._back([self.parked.pop(which % len(self.parked))], alone=True)

    @precondition(lambda self: self.parked)
    @rule()
    def end_the_hold(self) -> None:
        self._back(self.parked, alone=True)
        self.parked = []

    @precondition(lambda self: self.parked)
    @rule(which=st.integers(0, 99))
    def discard(self, which: int) -> None:
        one = self.parked.pop(which % len(self.parked))
        self._strike(one)
        self.lanes.release(one)
        if one.key is not None:
            self.through.pop(one.key, None)

    @precondition(lambda self: self.blocked and self.position is None)
    @rule(which=st.integers(0, 99))
    def give_back_a_dead_letter(self, which: int) -> None:
        key = sorted(self.blocked)[which % len(self.blocked)]
        one = self.left.pop(key, None) or event(-self.given_back - 1, key)
        assert self.lanes.let_through(one) == (key not in self.through)
        if key not in self.through:
            self.given_back = max(self.given_back, -one.seq)
            self.through[key] = one
            self.memory.setdefault(key, []).insert(0, one)
            self.alone.add(one)

    @rule(key=st.sampled_from(["a", "b", "c"]))
    def block_behind_what_is_out(self, key: str) -> None:
        self.lanes.bar(key)
        if key not in self.blocked and key in self.memory:
            self.through[key] = self.memory[key][0]
        self.headless.discard(key)
        self.blocked.add(key)

    @precondition(lambda self: self.blocked - self.left.keys())
    @rule()
    def unblock(self) -> None:
        key = min(self.blocked - self.left.keys())
        self.blocked.remove(key)
        self.lanes.unbar(key)
        self.through.pop(key, None)

    @invariant()
    def what_may_go_is_ready(self) -> None:
        away = {one for batch in self.out for one in batch} | set(self.parked)
        heads = [
            run[0] for key, run in self.memory.items() if key not in self.blocked or run[0] in self.through.values()
        ]
        assert len(self.lanes) == sum(one not in away for one in [*heads, *self.free])
        head = self.lanes.head_of_batch()
        assert head is None or (head not in away and not self.alone)

    @invariant()
    def the_count_of_stuck_events_is_true(self) -> None:
        behind = sum(len(self.memory[one.key]) - 1 for one in self.parked if one.key is not None)
        shut = self.blocked - self.through.keys()
        assert self.lanes.stuck_events == behind + sum(len(self.memory.get(key, ())) for key in shut)

    @invariant()
    def a_key_with_something_in_memory_is_busy(self) -> None:
        assert all(self.lanes.busy(key) for key in self.memory)
        assert all(self.lanes.busy(key) for key in self.blocked - self.through.keys())
        assert all(self.lanes.barred(key) == (key in self.blocked) for key in ("a", "b", "c"))

    @invariant()
    def what_was_dropped_is_read_again(self) -> None:
        lowest = self.lanes.overflow_from
        for seq, one in self.outbox.items():
            remembered = lowest is not None and lowest <= seq
            assert remembered or (self.position is not None and self.position < seq)
            shut = one.key in self.memory or one.key in self.blocked or one.key in self.headless
            if self.position is None and one.key is not None and not shut:
                assert self.lanes.can_resume

    def teardown(self) -> None:
        """Let everything flow: all of it leaves, each key in its order."""
        while self.blocked:
            for key in list(self.left):
                self.give_back_a_dead_letter(sorted(self.blocked).index(key))
            self.unblock()
        for _ in range(3 * self.last_seq + 10):
            if self.position is not None:
                self.read_again(limit=3, crowded=False)
            elif self.lanes.can_resume or self.hold_ended:
                self.begin_again()
            if self.parked:
                self.end_the_hold()
            self.take(4)
            self.take_a_batch(4, None)
            while self.out:
                self.settle(0)
            self.what_may_go_is_ready()
        assert not self.outbox and not self.memory and not self.free
        assert sorted(self.ended + self.late) == [*range(-self.given_back, 0), *range(1, self.last_seq + 1)]
        assert self.lanes.stuck_events == 0 and self.lanes.overflow_from is None
        assert not any(self.lanes.busy(key) for key in KEYS)


TestLanesUnderFire = LanesUnderFire.TestCase
TestLanesUnderFire.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
