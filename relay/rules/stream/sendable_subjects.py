"""Which subjects may be sent on: those whose streams are written down. Pure: no I/O, no clock.

A relay that begins looks for what an earlier one has sent and not marked in the streams that are written down. So a
stream is written down before the first event goes there: afterwards its subjects may be another stream's.

A stream that cannot be looked up is sent to all the same, and is written down when it has acknowledged an event.
"""

from relay.rules.stream.subjects import matches

_MOST_SUBJECTS = 10_000
# Beyond so many subjects of unknown streams a term asks about no other one first.
_MOST_ASKED = 1_000


class Begun:
    """What a term may send on without asking first."""

    def __init__(self) -> None:
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._subjects: set[str] = set()
        self._asked = 0

    def may_send(self, subject: str) -> bool:
        """Report whether an event may be sent on a subject."""
        if subject in self._subjects:
            return True
        if self._asked < _MOST_ASKED and not any(
            matches(pattern, subject) for patterns in self._patterns.values() for pattern in patterns
        ):
            return False
        self._add(subject)
        return True

    def wrote(self, stream: str, patterns: tuple[str, ...]) -> None:
        """Note that a stream is written down, which takes these subjects."""
        self._patterns[stream] = patterns

    def of_no_stream(self, subject: str) -> None:
        """Note that no stream takes a subject, as far as this account sees."""
        self._asked += 1
        self._add(subject)

    def give_up(self) -> None:
        """Ask no more: nobody answers, or what was answered could not be written down."""
        self._asked = _MOST_ASKED

    def _add(self, subject: str) -> None:
        if len(self._subjects) >= _MOST_SUBJECTS:
            self._subjects.clear()
        self._subjects.add(subject)
