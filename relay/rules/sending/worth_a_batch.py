"""Whether the events that wait for a stream are worth an atomic batch. Pure: no I/O, no clock.

A server keeps a batch until its commit: in memory, but for a file stream with one replica in files of its own, which it
makes and removes for each batch. That takes longer than many single events do (decision 30). So a batch is worth it
there if it takes many events, if events of one key would await each other's answers for longer, or if the stream is
slow to answer single events: it is far away, or writes each of them to its disk.
"""

from relay.rules.order.lanes import Lanes
from relay.rules.stream.streams import StreamFacts

# So many single events of different keys take such a stream as long as a batch of them.
MANY = 100
# What the files of a batch take, seconds: 2.7 ms alone, twice as much beside other work.
_FILES_S = 0.005
# Of one answer in the average.
_WEIGHT = 1 / 8
# For so long an average is true, seconds. While all goes in batches no answer to a single event would mend it.
_TRUE_FOR_S = 5.0


class WorthABatch:
    """Knows for each stream how soon it answers a single event.

    An average that follows slowly: after eight answers it is two thirds of the way to what they say. It begins again
    every few seconds, so that a moment of rest of a stream, or a busy one of the machine, is soon forgotten.

    Args:
        always: A batch is worth it for each stream that takes batches.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        # Of each stream: when its average began, and the average, monotonic seconds.
        self._answers: dict[str, tuple[float, float]] = {}

    def answered(self, stream: str, seconds: float, now: float) -> None:
        """Note how long after its sending a single event was acknowledged by a stream, `now`, monotonic seconds."""
        began, average = self._answers.get(stream, (now, seconds))
        if now - began > _TRUE_FOR_S:
            began, average = now, seconds
        self._answers[stream] = began, average + _WEIGHT * (seconds - average)

    def is_so(self, stream: StreamFacts, lanes: Lanes, now: float) -> bool:
        """Report whether a batch of the events that are ready would be in the stream before they would one by one.

        Args:
            stream: Where they go.
            lanes: What is ready: two events or more.
            now: Monotonic seconds.
        """
        if not stream.atomic or self._always or not stream.batches_in_files:
            return stream.atomic
        events, longest_run = lanes.next_batch(MANY)
        began, average = self._answers.get(stream.name, (now, 0.0))
        answer_s = average if now - began <= _TRUE_FOR_S else 0.0
        return events >= MANY or max(longest_run - 1, 1) * answer_s > _FILES_S
