"""Whether the events that wait for a stream are worth an atomic batch. Pure: no I/O, no clock.

A server keeps a batch until its commit: in memory, but for a file stream with one replica in files of its own, which it
makes and removes for each batch. That takes longer than hundreds of single events do (decision 30). So a batch is worth
it there if there is a backlog, or if events of one key would await each other's answers for longer. Of a stream that is
far away all are, since each answer takes so long.
"""

import math
from typing import NamedTuple

from relay.rules.order.lanes import Lanes
from relay.rules.stream.streams import StreamFacts

# So many events are a backlog: as many singles as are on their way at a time, `delivery.window`, by default.
BACKLOG = 1000
# What a batch takes beyond single events, seconds: 2.7 ms alone, three times as much beside other work.
_FILES_S = 0.01
# For so long an answer says how soon others come, seconds. While all goes in batches none to a single event comes.
_TRUE_FOR_S = 5.0
# So many answers tell how soon a stream can answer. Any one of them may come late, beside other work.
_TELLING = 3


class _Answers(NamedTuple):
    """The answers of a stream to single events.

    Attributes:
        since: When the first of these came, monotonic seconds.
        soonest: How long after its sending the soonest came, seconds.
        number: How many there were.
        before: As `soonest`, of the five seconds before.
    """

    since: float
    soonest: float
    number: int = 1
    before: float = math.inf


class WorthABatch:
    """Knows for each stream how soon it can answer a single event: the soonest answer of the last seconds.

    Not an average: a stream that pauses for a moment, or a machine at work, says nothing of how far the stream is.

    Args:
        always: A batch is worth it for each stream that takes batches.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self._answers: dict[str, _Answers] = {}

    def answered(self, stream: str, seconds: float, now: float) -> None:
        """Note how long after its sending a single event was acknowledged by a stream, `now`, monotonic seconds."""
        known = self._answers.get(stream)
        age_s = math.inf if known is None else now - known.since
        if known is None or age_s > 2 * _TRUE_FOR_S:
            self._answers[stream] = _Answers(now, seconds)
        elif age_s > _TRUE_FOR_S:
            self._answers[stream] = _Answers(now, seconds, before=known.soonest)
        else:
            self._answers[stream] = known._replace(soonest=min(known.soonest, seconds), number=known.number + 1)

    def _answer_s(self, stream: str, now: float) -> float:
        """Return how soon a stream can answer a single event, seconds; 0 if nobody knows."""
        known = self._answers.get(stream)
        if known is None or known.number < _TELLING or now - known.since > _TRUE_FOR_S:
            return 0.0
        return min(known.soonest, known.before)

    def is_so(self, stream: StreamFacts, lanes: Lanes, now: float) -> bool:
        """Report whether a batch of the events that are ready would be in the stream before they would one by one.

        Args:
            stream: Where they go.
            lanes: What is ready: two events or more.
            now: Monotonic seconds.
        """
        if not stream.atomic or self._always or not stream.batches_in_files:
            return stream.atomic
        events, longest_run = lanes.next_batch(BACKLOG)
        return events >= BACKLOG or max(longest_run - 1, 1) * self._answer_s(stream.name, now) > _FILES_S
