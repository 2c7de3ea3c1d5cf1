"""A stream that events were published to and that NATS does not have any more: which it was, how to make it again."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from relay.config.derived_options import envelopes
from relay.event import Event
from relay.operate.access import Reader
from relay.operate.create_command import StreamLimits
from relay.rules.sending.envelopes import Poison
from relay.rules.stream.subjects import matches

if TYPE_CHECKING:
    from relay.config.settings import Settings

# Subjects by the name of a stream, as somebody has seen them.
Took = Mapping[str, Sequence[str]]
SubjectOf = Callable[[str, str | None], str | None]


class Known(NamedTuple):
    """What somebody who looks again and again knows of streams, by their names.

    Attributes:
        took: What each took when it was seen last.
        growth: By how much each grows in a second, in what its limit counts.
        limits: What each was set to when it was seen last.
    """

    took: Took
    growth: Mapping[str, float]
    limits: Mapping[str, StreamLimits]


# Among how many of the newest seqs its topics are looked for, and how many are named.
_NEWEST = 50_000
_TOPICS = 20


def subject_maker(settings: "Settings") -> SubjectOf:
    """Return what makes the subject of a topic and a key, None if it makes none."""
    made = envelopes(settings)

    def subject_of(topic: str, key: str | None) -> str | None:
        try:
            return made.subject(Event(0, "", topic, key, b"", None, 0.0, 0, postponed=False))
        except Poison:
            return None

    return subject_of


def taken_by(subject: str, streams: Took) -> str | None:
    """Return which stream took a subject, None if none is known to."""
    return next((name for name, took in streams.items() if any(matches(one, subject) for one in took)), None)


def read_topics(reader: Reader, stream: str, newest: int) -> list[str]:
    """Return topics of what was delivered to a stream lately."""
    rows = reader.rows("operate/stream_topics", (max(0, newest - _NEWEST), newest, stream, _TOPICS))
    return [str(topic) for (topic,) in rows]


def read_subjects(reader: Reader, stream: str, subject_of: SubjectOf) -> tuple[str, ...]:
    """Return the subjects of what was delivered to a stream lately: the least that it took."""
    _, newest = reader.row("operate/range")
    made = (subject_of(topic, None) for topic in read_topics(reader, stream, newest))
    return tuple(dict.fromkeys(subject for subject in made if subject is not None))
