"""What may be sent now so that each key keeps its order. Pure: no I/O, no clock.

A key that has an event out (ready, in flight, postponed or held) is a lane, and its later events queue behind.
So a key has one event out, or one run of consecutive events in one atomic batch. Its outcome is known before the next
event is sent.

A lane whose head waits for something is *stuck*. Behind stuck lanes events could pile up without end, so above
a limit they are dropped from memory, and `overflow_from` says from which seq on the outbox has to be read again
when lanes flow once more.

A *barred* lane waits for the operator: its head is a dead letter. An event of its key that the operator retries goes
through alone, and the lane stays shut behind it until `unbar`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from relay.event import Event


class Lanes:
    """The events in memory that are not in flight, in the order in which they may leave.

    Args:
        ordered: False gives up the order of keys: every event is ready at once.
        stuck_limit: How many events may queue behind stuck lanes before further ones are dropped.
    """

    def __init__(self, *, ordered: bool = True, stuck_limit: int = 10_000) -> None:
        self._ordered = ordered
        self._stuck_limit = stuck_limit
        self._ready: deque[Event] = deque()
        self._alone: deque[Event] = deque()
        self._queues: dict[str, deque[Event] | None] = {}
        self._stuck: set[str] = set()
        self._overflowed: set[str] = set()
        # Keys whose dropped events are being read again.
        self._returning: set[str] = set()
        self._dry: set[str] = set()
        self._headless: set[str] = set()
        # Barred keys, and whether an event that was let through, or was out before, is still out.
        self._barred: dict[str, bool] = {}
        self.stuck_events = 0
        self.stuck_bytes = 0
        self.overflow_from: int | None = None

    def __len__(self) -> int:
        """How many events may be sent now."""
        return len(self._ready) + len(self._alone)

    @property
    def stuck_keys(self) -> int:
        """How many keys wait behind a head that cannot be sent now."""
        return len(self._stuck)

    @property
    def can_resume(self) -> bool:
        """Whether dropped events could flow now: some lane has nothing left in memory but something in the outbox."""
        return bool(self._dry)

    def offer(self, events: Iterable[Event], *, crowded: bool = False) -> list[Event]:
        """Take in fetched events, those of one key in the order in which they are to be sent.

        Args:
            events: What was fetched.
            crowded: Memory is short: nothing more may queue behind stuck lanes.

        Returns:
            Those that were dropped, to be read again later.
        """
        dropped: list[Event] = []
        if not self._ordered:
            self._ready.extend(events)
            return dropped
        queues, ready = self._queues, self._ready
        for event in events:
            key = event.key
            if key is None:
                ready.append(event)
            elif key not in queues:
                queues[key] = None
                ready.append(event)
            elif key in self._overflowed or (key in self._stuck and (crowded or self._full())):
                dropped.append(event)
                self._overflowed.add(key)
                self.drop(event)
            else:
                queue = queues[key]
                if queue is None:
                    queues[key] = deque((event,))
                else:
                    queue.append(event)
                if key in self._stuck:
                    self.stuck_events += 1
                    self.stuck_bytes += event.size
        return dropped

    def _full(self) -> bool:
        return self.stuck_events >= self._stuck_limit

    def drop(self, event: Event) -> None:
        """Remember that an event is only in the outbox from now on."""
        if self.overflow_from is None or event.seq < self.overflow_from:
            self.overflow_from = event.seq

    def drop_head(self, event: Event) -> list[Event]:
        """Drop a taken event that would wait in a hold, with all that queues behind it.

        Its lane stays shut until `begin_again`; a barred one until the event is let through again.

        Returns:
            What was dropped, the event itself included.
        """
        dropped = [event]
        key = event.key
        if key is not None and self._ordered:
            self._unstick(key)
            dropped += self._queues.get(key) or ()
            self._queues[key] = None
            self._stuck.add(key)
            self._overflowed.add(key)
            if key in self._barred:
                self._barred[key] = False
            else:
                self._headless.add(key)
        for one in dropped:
            self.drop(one)
        return dropped

    def unsent(self) -> Iterator[Event]:
        """Go through the events that may be sent now, or queue."""
        queues = [queue for queue in self._queues.values() if queue]
        return chain(self._ready, self._alone, chain.from_iterable(queues))

    def queued(self) -> Iterator[Event]:
        """Go through the events that queue behind stuck heads."""
        # Nothing queues in most lanes of many: a generator step for each would take 7 ms for 20,000.
        queues = self._queues
        return chain.from_iterable([queue for key in self._stuck if (queue := queues[key])])

    def drop_queue(self, key: str) -> list[Event]:
        """Drop what queues behind the stuck head of a key; return it. The lane stays as it is otherwise."""
        dropped = list(self._queues.get(key) or ()) if key in self._stuck else []
        if dropped:
            self.stuck_events -= len(dropped)
            self.stuck_bytes -= sum(event.size for event in dropped)
            self._queues[key] = None
            self._overflowed.add(key)
            for one in dropped:
                self.drop(one)
        return dropped

    def head_of_batch(self) -> Event | None:
        """Return the first event of the next batch, without taking it.

        None if nothing would leave with it, or if there are events that must go alone: these are first.
        """
        if self._alone or not self._ready:
            return None
        head = self._ready[0]
        return head if len(self._ready) > 1 or self._behind(head.key) else None

    def next_batch(self, limit: int) -> tuple[int, int]:
        """Return how many events could go in one batch, and how many of them have the same key at most.

        If so many keys as the limit are ready it is not looked behind them: `limit` and 1.
        """
        if not self._ordered or len(self._ready) >= limit:
            return min(len(self._ready), limit), 1
        events = longest_run = 0
        for event in self._ready:
            run = 1 + self._behind(event.key)
            events, longest_run = events + run, max(longest_run, run)
            if events >= limit:
                return limit, longest_run
        return events, longest_run

    def _behind(self, key: str | None) -> int:
        """Count the events that may leave right behind the next one of a key."""
        queue = None if key is None or key in self._barred else self._queues.get(key)
        return len(queue) if queue else 0

    def take(self, limit: int) -> list[Event]:
        """Take events to be sent one by one, no two of one key."""
        taken: list[Event] = []
        for source in (self._alone, self._ready):
            while source and len(taken) < limit:
                taken.append(source.popleft())
        return taken

    def take_runs(self, limit: int) -> list[Event]:
        """Take events for one atomic batch: of each key as many of its next events as there is room for.

        Events that must go alone are not among them. Of a barred key one goes, which was ready before.
        """
        taken: list[Event] = []
        while self._ready and len(taken) < limit:
            event = self._ready.popleft()
            taken.append(event)
            queue = None
            if self._ordered and event.key is not None and event.key not in self._barred:
                queue = self._queues.get(event.key)
            while queue and len(taken) < limit:
                taken.append(queue.popleft())
                if event.key in self._stuck:
                    self.stuck_events -= 1
                    self.stuck_bytes -= taken[-1].size
        return taken

    def put_back(self, events: Sequence[Event], *, alone: bool = False) -> None:
        """Put events back that were taken and are not settled, in the order in which they were taken.

        The first of each key is ready again, before all others; the rest queue at the front of their lane.

        Args:
            events: What was taken; the whole run of a key, or its one event.
            alone: They came back from a refused batch and are sent one by one.
        """
        first: list[Event] = []
        runs: dict[str, list[Event]] = {}
        for event in events:
            key = event.key
            if not self._ordered or key is None:
                first.append(event)
            elif key in runs:
                runs[key].append(event)
            else:
                runs[key] = []
                first.append(event)
        for key, rest in runs.items():
            self._unstick(key)
            if rest:
                queue = self._queues.get(key)
                if queue is None:
                    queue = self._queues[key] = deque()
                queue.extendleft(reversed(rest))
        if self._barred and any(key in self._barred for key in runs):
            alone = True  # a batch would take along what queues behind
        (self._alone if alone else self._ready).extendleft(reversed(first))

    def requeue(self, run: Sequence[Event]) -> None:
        """Put taken events of keys that have an earlier event in flight back to the front of their lanes."""
        if not self._ordered:
            self._ready.extendleft(reversed(run))
            return
        for event in reversed(run):
            if event.key is not None:
                queue = self._queues.get(event.key)
                if queue is None:
                    self._queues[event.key] = deque((event,))
                else:
                    queue.appendleft(event)

    def release(self, event: Event) -> None:
        """Let the next event of the key go: this one is settled, or will never be."""
        if event.key is not None and self._ordered:
            self.release_key(event.key)

    def release_key(self, key: str) -> None:
        """Let the next event of a key go, whatever its head was; of a barred key, let none go."""
        if self._barred and key in self._barred:
            self._barred[key] = False
            self.stick_key(key)
            return
        if self._stuck:
            self._unstick(key)
        queue = self._queues.get(key)
        if queue:
            self._ready.append(queue.popleft())
        elif key in self._overflowed:
            # Later events of the key are in the outbox: keep the lane shut until they are read again.
            self._stuck.add(key)
            self._dry.add(key)
        else:
            self._queues.pop(key, None)

    def stick(self, event: Event) -> None:
        """Keep a taken event's lane shut: its head waits for a retry, the operator, or the end of a hold."""
        if event.key is not None and self._ordered:
            self.stick_key(event.key)

    def stick_key(self, key: str) -> None:
        """Keep the lane of a key shut; make it if there is none."""
        queue = self._queues.setdefault(key, None)
        if key not in self._stuck:
            self._stuck.add(key)
            if queue:
                self.stuck_events += len(queue)
                self.stuck_bytes += sum(event.size for event in queue)

    def bar(self, key: str) -> None:
        """Shut the lane of a key until `unbar`: the operator must decide about a dead letter of it.

        If an event of the key is out, as a dead letter may be given a key by hand, the lane shuts behind that one.
        """
        if not self._ordered or key in self._barred:
            return
        headless = key not in self._queues or key in self._dry or key in self._headless
        self._dry.discard(key)
        self._headless.discard(key)
        self._barred[key] = not headless
        if headless:
            self.stick_key(key)

    def barred(self, key: str) -> bool:
        """Report whether the lane of a key is barred."""
        return key in self._barred

    def let_through(self, event: Event) -> bool:
        """Make an event of a barred key ready; return False if another one that was let through is still out."""
        if event.key is not None and event.key in self._barred:
            if self._barred[event.key]:
                return False
            self._barred[event.key] = True
        self.put_back([event], alone=True)
        return True

    def unbar(self, key: str) -> None:
        """Let the events of a barred key go, after the one that was let through and is still out."""
        out = self._barred.pop(key, None)
        if out is False:
            self.release_key(key)

    def busy(self, key: str | None) -> bool:
        """Report whether an event of this key would have to wait."""
        return self._ordered and key is not None and key in self._queues

    def _unstick(self, key: str) -> None:
        if key in self._stuck:
            self._stuck.discard(key)
            queue = self._queues.get(key)
            if queue:
                self.stuck_events -= len(queue)
                self.stuck_bytes -= sum(event.size for event in queue)

    def begin_again(self) -> int | None:
        """Forget what was dropped, because everything from the returned seq on is now read and offered again.

        Of the keys whose events were dropped (`returns`) nothing may be offered ahead of that, until `all_again` says
        that it is done; other keys go on. None: nothing was dropped.
        """
        start = self.overflow_from
        self.overflow_from = None
        for key in self._dry | self._headless:
            self._stuck.discard(key)
            del self._queues[key]
        self._dry.clear()
        self._headless.clear()
        self._returning, self._overflowed = self._overflowed, set()
        return start

    def has_dropped(self, key: str | None) -> bool:
        """Report whether events of a key may be only in the outbox; without a key, whether any may be."""
        if key is None or not self._ordered:
            return self.overflow_from is not None
        return key in self._overflowed

    def returns(self, key: str | None) -> bool:
        """Report whether events of a key were dropped that are being read again."""
        return key in self._returning

    def all_again(self) -> None:
        """Note that all that was dropped was offered again, or is read in another way."""
        self._returning.clear()
