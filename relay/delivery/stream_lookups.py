"""Look-ups: which stream takes a subject, asked when a failure alone does not say what is wrong."""

import asyncio
import logging
import time
from collections import deque
from itertools import islice
from typing import NamedTuple

from relay.event import Event
from relay.jetstream.connection import Connection
from relay.jetstream.errors import BrokerError
from relay.rules.failures import Failure, after_lookup
from relay.rules.streams import StreamMap

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
# A subject that no stream takes is looked up again at most this often, seconds.
_PAUSE_S = 1.0
_MOST_SUBJECTS = 10_000
# So many subjects are asked about at once. Until the answer is there an event takes room from those that can flow.
_AT_ONCE = 50
_LOOKED_THROUGH = 500


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
        """Wait for the next answers, in the order of their questions: those that one look-up a subject has brought."""
        found: list[Answer] = []
        while True:
            while self._questions:
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
        if failure is None:
            self._note_place(subject)
            return Answer(event, subject, None)
        facts = self._streams.find(subject)
        mute = facts.name if facts is not None and facts.no_ack else None
        return Answer(event, subject, after_lookup(failure, self._known[subject], mute))

    def _note_place(self, subject: str) -> None:
        """Let a subject be sent on if no stream is found for it; one that is found is written down first."""
        exists = self._known[subject]
        if exists is None:
            self._streams.begun.give_up()
        elif not exists:
            self._streams.begun.of_no_stream(subject)

    async def _ask_about(self, first: str) -> None:
        """Find out about a subject, and at the same time about others that come next."""
        subjects = {first}
        for subject, _ in islice(self._questions, _LOOKED_THROUGH):
            if len(subjects) < _AT_ONCE and subject not in self._known:
                subjects.add(subject)
        asked = list(subjects)
        self._known.update(zip(asked, await asyncio.gather(*map(self._exists, asked)), strict=True))

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
            self._streams.forget()
            if len(self._without) >= _MOST_SUBJECTS:
                self._without.clear()
            self._without[subject] = began
            return False
        self._streams.learn(facts, subject, time.monotonic())
        return True
