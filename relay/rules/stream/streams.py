"""What is known of the streams behind the subjects, and what a stream is known by. Pure.

Two streams may have one name: each JetStream domain has names of its own, and so has each account. A stream is
written as its acknowledgements name it: ``ORDERS``, or ``hub/ORDERS`` if they say that it lives in the domain ``hub``.
No stream has a slash in its name.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from relay.rules.stream.sendable_subjects import Begun
from relay.rules.stream.subjects import matches

JETSTREAM_API = "$JS.API"
# Of a domain and a name, 255 characters each.
_LONGEST = 511


def qualified(domain: str, name: str) -> str:
    """Return a stream as it is written in marks: with its domain before it, if it has one."""
    return f"{domain}/{name}" if domain else name


def split(stream: str) -> tuple[str, str]:
    """Return the domain of a stream, empty if none is known, and its name there."""
    domain, _, name = stream.rpartition("/")
    return domain, name


# What no server lets into the name of a stream or a domain: it would be other tokens of a subject, or other commands.
_NO_NAME = re.compile(r"[\s.*>/\\\x00-\x1f\x7f\ud800-\udfff]")


def may_exist(stream: str) -> bool:
    """Report whether there can be a stream of this name: rows of the outbox name them, and anybody may write those."""
    domain, name = split(stream)
    return bool(name) and len(stream) <= _LONGEST and not _NO_NAME.search(name) and not _NO_NAME.search(domain)


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What of a stream's configuration decides how we publish to it.

    Attributes:
        name: The stream as it is written in marks (`qualified`).
        subjects: The patterns it takes.
        atomic: It takes atomic batches: server and configuration allow them.
        batches_in_files: The server keeps each of them in files of its own until the commit.
        no_ack: It acknowledges nothing, so nothing could ever be marked delivered.
        duplicate_window_s: Seconds in which a repeated message id is dropped.
    """

    name: str
    subjects: tuple[str, ...]
    atomic: bool = False
    batches_in_files: bool = False
    no_ack: bool = False
    duplicate_window_s: float = 0.0

    def takes(self, subject: str) -> bool:
        """Report whether the stream stores what is published on a subject."""
        return any(matches(pattern, subject) for pattern in self.subjects)


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a stream holds at one moment, and by which rules it lets go of messages.

    Attributes:
        created: When it was made, in the server's words; another value hints at another stream.
        created_at: The same in Unix seconds.
        first_seq: Nothing is stored below it.
        last_seq: Nothing is stored above it.
        api: The prefix of the subjects under which its domain answers questions.
        mirror: It copies another stream, and so has acknowledged nothing itself.
        max_age_s: Messages older than this are dropped; 0: never.
        trims: It drops its oldest messages by a limit of number, bytes or age.
        thins: It may drop messages from its middle: by subject, by consumption, by a message's own age, by rollups.
        direct: It may be read by batches, on server and stream.
        room: What is left of its narrowest limit of messages or bytes, as a share of it; None without such a limit.
        at: When it was so, Unix seconds by the server's clock; None if the server does not say.
    """

    facts: StreamFacts
    created: str
    created_at: float
    first_seq: int
    last_seq: int
    api: str = JETSTREAM_API
    mirror: bool = False
    max_age_s: float = 0.0
    trims: bool = False
    thins: bool = False
    direct: bool = False
    room: float | None = None
    at: float | None = None

    def by_clock(self, now: float) -> "StreamState":
        """Return it with its times by another clock: deliveries are timed by the database's, which may differ.

        Args:
            now: What that clock says as the server answers, Unix seconds.
        """
        return self if self.at is None else replace(self, created_at=self.created_at + now - self.at, at=now)

    @property
    def name(self) -> str:
        """The stream as it is written in marks."""
        return self.facts.name

    @property
    def bare_name(self) -> str:
        """Its name within its domain, as questions about it have it."""
        return split(self.facts.name)[1]


class StreamMap:
    """Which stream takes which subject, as far as it was looked up; no two streams of an account share a subject.

    Attributes:
        begun: Which subjects may be sent on, for the whole of a term.
        saved: Streams that an earlier term has seen.
    """

    def __init__(self, most_subjects: int = 10_000, most_former: int = 1_000) -> None:
        self._streams: dict[str, StreamFacts] = {}
        self._by_subject: dict[str, StreamFacts] = {}
        # Streams, with the subjects that they took, and until when that was believed; still, if nothing contradicts it.
        self._former: dict[tuple[str, tuple[str, ...]], float] = {}
        self._most = most_subjects
        self._most_former = most_former
        self.begun = Begun()
        self.saved: frozenset[str] = frozenset()

    def find(self, subject: str) -> StreamFacts | None:
        """Return the stream of a subject, None if it is not known."""
        facts = self._by_subject.get(subject)
        if facts is None:
            facts = next((one for one in self._streams.values() if one.takes(subject)), None)
            if facts is not None:
                if len(self._by_subject) >= self._most:
                    self._by_subject.clear()
                self._by_subject[subject] = facts
        return facts

    def name_of(self, subject: str) -> str | None:
        """Return the name of the stream of a subject, None if it is not known."""
        facts = self.find(subject)
        return None if facts is None else facts.name

    def since(self, subject: str, moment: float) -> frozenset[str]:
        """Return the streams that may have taken a subject at a moment, monotonic seconds, or after it.

        What was known before `forget` counts as long as nothing contradicts it. Several may be known to take it now:
        what one was edited to was not looked up by this subject. Empty: none is known.
        """
        now = {one.name for one in self._streams.values() if one.takes(subject)}
        former = {
            name
            for (name, patterns), until in self._former.items()
            if until >= moment and any(matches(pattern, subject) for pattern in patterns)
        }
        return frozenset(now | former)

    def never_seen(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of some streams of which nothing was ever known: they may take any subject."""
        return frozenset(names).difference(self._streams, (name for name, _ in self._former))

    def was_seen(self, name: str) -> bool:
        """Report whether a stream was ever seen; one that acknowledges and was not may belong to another account."""
        return name in self.saved or not self.never_seen((name,))

    def learn(self, facts: StreamFacts, subject: str = "", now: float = math.inf) -> None:
        """Take up what a look-up said, in place of what was known of that stream.

        Args:
            subject: What was looked up: no other stream takes it any more.
            now: When the answer was there, monotonic seconds: until then what it contradicts may have been so.
        """
        for one in list(self._streams.values()):
            if one.name == facts.name or (subject and one.takes(subject)):
                del self._streams[one.name]
                self._former[one.name, one.subjects] = math.inf
        self._former.pop((facts.name, facts.subjects), None)
        for (name, patterns), until in self._former.items():
            taken = subject and any(matches(pattern, subject) for pattern in patterns)
            if until == math.inf and (name == facts.name or taken):
                self._former[name, patterns] = now
        while len(self._former) > self._most_former:
            del self._former[next(iter(self._former))]
        self._streams[facts.name] = facts
        self._by_subject.clear()

    def forget(self) -> None:
        """Know nothing: the connection is new, or an answer did not fit."""
        for one in self._streams.values():
            self._former[one.name, one.subjects] = math.inf
        self._streams.clear()
        self._by_subject.clear()
