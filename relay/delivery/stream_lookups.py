"""Look-ups: which stream takes a subject, asked when a failure alone does not say what is wrong."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.rules.failure.failures import Failure, after_lookup
from relay.rules.stream.streams import StreamMap
from relay.rules.stream.subject_groups import groups, of_all_but_last, of_first_token

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# A subject that no stream takes is looked up again at most this often, seconds.
_PAUSE_S = 1.0
_MOST_SUBJECTS = 10_000
# So many subjects are asked about at once. Until the answer is there an event takes room from those that can flow.
_AT_ONCE = 50
_LOOKED_THROUGH = 1_000
# At most this many answers at a time: each may open a hold, and a turn of the loop is to be short.
_ANSWERS_AT_ONCE = 25


class Answer(NamedTuple):
    """What became of an event that failed.

    Attributes:
        failure: What is wrong; None if nothing is wrong any more.
    """

    event: Event
    subject: str
    failure: Failure | None


class StreamLookups:
    """Asks the server, about several subjects at once, and keeps what it learns in the map of the streams."""

    def __init__(self, streams: StreamMap) -> None:
        self._streams = streams
        self._connection: Connection | None = None
        # An event, and how it failed (None: it was not sent yet); None: the subject alone.
        self._questions: deque[tuple[str, tuple[Event, Failure | None] | None]] = deque()
        self._looked_up_at: dict[str, float] = {}
        # Subjects that no stream takes: when the look-up that said so was begun, monotonic seconds.
        self._without: dict[str, float] = {}
        # Of the questions that wait now: whether a stream takes the subject.
        self._known: dict[str, bool | None] = {}
        self._asking = asyncio.Event()

    def attach(self, connection: Connection) -> None:
        """Ask over this connection from now on; nothing that was known of streams counts any more."""
        self._connection = connection
        self._streams.forget()
        self._looked_up_at.clear()
        self._without.clear()
        self._known.clear()

    def look_up(self, subject: str) -> None:
        """Find out which stream takes a subject, unless that was asked a moment ago."""
        now = time.monotonic()
        if now - self._looked_up_at.get(subject, -_PAUSE_S) >= _PAUSE_S:
            if len(self._looked_up_at) > _MOST_SUBJECTS:
                self._looked_up_at.clear()
            self._looked_up_at[subject] = now
            self._questions.append((subject, None))
            self._asking.set()

    def is_without(self, subject: str, since: float) -> bool:
        """Report whether a look-up that was begun at `since` or later says that no stream takes a subject.

        If there was none it is looked up, and the answer is known at a later call.
        """
        if self._without.get(subject, since - 1) >= since:
            return True
        self.look_up(subject)
        return False

    def ask(self, event: Event, subject: str, failure: Failure | None) -> None:
        """Find out what a failure was, or which stream takes an event that was not sent yet; `answers` returns it."""
        self._questions.append((subject, (event, failure)))
        self._asking.set()

    async def answers(self) -> list[Answer]:
        """Wait for the next answers, a few at a time, in the order of their questions.

        They are those that one look-up a subject has brought.
        """
        found: list[Answer] = []
        while True:
            while self._questions and len(found) < _ANSWERS_AT_ONCE:
                subject, failed = self._questions[0]
                if subject not in self._known:
                    if found:
                        return found
                    await self._ask_about(subject)
                self._questions.popleft()
                if failed is not None:
                    found.append(self._answer(subject, *failed))
            if found:
                return found
            self._known.clear()
            self._asking.clear()
            await self._asking.wait()

    def _answer(self, subject: str, event: Event, failure: Failure | None) -> Answer:
        exists = self._known[subject]
        if failure is None:
            self._streams.begun.looked_up(event.seq, subject, is_taken=exists)
            return Answer(event, subject, None)
        facts = self._streams.find(subject)
        mute = facts.name if facts is not None and facts.no_ack else None
        return Answer(event, subject, after_lookup(failure, exists, mute))

    async def _ask_about(self, first: str) -> None:
        """Find out about a subject, and at the same time about others that come next."""
        asked = {first: None}
        for subject, _ in islice(self._questions, _LOOKED_THROUGH):
            if subject not in self._known:
                asked[subject] = None
        # Most of many that begin alike, such as those of keys, have one answer: no stream takes any of them.
        alone, patterns = list(asked), set[str]()
        for pattern_of in (of_first_token, of_all_but_last):
            alone = await self._ask_together(alone, pattern_of, patterns)
        alone = alone[:_AT_ONCE]
        self._known.update(zip(alone, await asyncio.gather(*map(self._exists, alone)), strict=True))

    async def _ask_together(self, subjects: list[str], pattern_of: Callable[[str], str], asked: set[str]) -> list[str]:
        """Ask for the patterns of those that begin alike; return the subjects that a stream may take.

        Args:
            subjects: About which.
            pattern_of: Makes the pattern of a subject.
            asked: The patterns that were asked for, which are not asked for again.
        """
        alike = [one for one in groups(subjects, pattern_of).items() if one[0] not in asked][:_AT_ONCE]
        asked.update(pattern for pattern, _ in alike)
        began = time.monotonic()
        free = await asyncio.gather(*(self._takes_none(pattern) for pattern, _ in alike))
        without = {subject for (_, group), is_free in zip(alike, free, strict=True) if is_free for subject in group}
        for subject in without:
            self._is_without(subject, began)
            self._known[subject] = False
        return [subject for subject in subjects if subject not in without]

    async def _takes_none(self, pattern: str) -> bool:
        """Report whether the server says that no stream takes anything that a pattern matches."""
        connection = self._connection
        if connection is None:
            return False
        try:
            return not await connection.takes_any(pattern, _TIMEOUT_S)
        except BrokerError as error:
            log.debug("streams of %s not found out: %s", pattern, error)
            return False

    async def _exists(self, subject: str) -> bool | None:
        """Report whether a stream takes a subject; None if nobody answers."""
        connection = self._connection
        if connection is None:
            return None
        began = time.monotonic()
        self._without.pop(subject, None)
        try:
            facts = await connection.stream_of(subject, _TIMEOUT_S)
        except BrokerError as error:
            log.debug("stream of %s not found out: %s", subject, error)
            return None
        if facts is None:
            self._is_without(subject, began)
            return False
        self._streams.learn(facts, subject, time.monotonic())
        return True

    def _is_without(self, subject: str, began: float) -> None:
        """Take the answer that no stream takes a subject, of a look-up that was begun then."""
        if self._streams.find(subject) is not None:
            self._streams.forget()
        if len(self._without) >= _MOST_SUBJECTS:
            self._without.clear()
        self._without[subject] = began
