"""Which subjects may be sent on: those whose streams are written down. Pure: no I/O, no clock.

A relay that begins looks for what an earlier one has sent and not marked in the streams that are written down. So a
stream is written down before the first event goes there: afterwards its subjects may be another stream's.

A stream that cannot be looked up is sent to all the same, and is written down when it has acknowledged an event.

If no stream of this account takes a subject, one of another account or domain may. So the first event on it knocks
(`relay.rules.stream.knocks`); only if the knock is heard, and still no stream is found, the subject is one of those.
"""

from relay.rules.stream.knocks import Knocks
from relay.rules.stream.subjects import matches

_MOST_SUBJECTS = 10_000
# Beyond so many subjects of unknown streams a term asks about no other one first.
_MOST_ASKED = 1_000


class Begun:
    """What a term may send on without asking first.

    Attributes:
        knocks: What goes on other subjects, and is not to be stored there.
    """

    def __init__(self) -> None:
        self.knocks = Knocks()
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._subjects: set[str] = set()
        self._elsewhere: set[str] = set()
        self._asked = 0

    def may_send(self, subject: str) -> bool:
        """Report whether an event may be sent on a subject."""
        if subject in self._subjects:
            return True
        is_asked = self._asked < _MOST_ASKED and subject not in self._elsewhere
        if is_asked and not any(
            matches(pattern, subject) for patterns in self._patterns.values() for pattern in patterns
        ):
            return False
        self._add(subject)
        return True

    def wrote(self, stream: str, patterns: tuple[str, ...]) -> None:
        """Note that a stream is written down, which takes these subjects."""
        self._patterns[stream] = patterns

    def looked_up(self, seq: int, subject: str, *, is_taken: bool | None) -> None:
        """Take what a look-up says of the subject of an event that was not sent yet, or has knocked and was heard.

        Args:
            seq: That of the event.
            subject: Its subject.
            is_taken: Whether a stream of this account takes it; None if nobody answered: nobody is asked any more.
        """
        is_heard = self.knocks.take_heard(seq)
        if is_taken is None:
            self.give_up()
        elif not is_taken and not is_heard:
            self.knocks.begin(seq)
        elif not is_taken:
            self._lies_elsewhere(subject)

    def accepted(self, seq: int, subject: str) -> None:
        """Take that an event was acknowledged: if it knocked, that was no stream, and does not heed the condition."""
        if self.knocks.end(seq):
            self._lies_elsewhere(subject)

    def _lies_elsewhere(self, subject: str) -> None:
        if subject not in self._elsewhere:
            self._asked += 1
            if len(self._elsewhere) >= _MOST_SUBJECTS:
                self._elsewhere.clear()
            self._elsewhere.add(subject)

    def is_elsewhere(self, subject: str) -> bool:
        """Report whether a knock on a subject was answered that no stream takes, as far as this account sees."""
        return subject in self._elsewhere

    def asked_in_vain(self) -> None:
        """Note that a stream was not as it was looked up a moment ago; ask no more if that comes again and again."""
        self._asked += 1

    def give_up(self) -> None:
        """Ask no more: nobody answers, or what was answered could not be written down."""
        self._asked = _MOST_ASKED

    def _add(self, subject: str) -> None:
        if len(self._subjects) >= _MOST_SUBJECTS:
            self._subjects.clear()
        self._subjects.add(subject)
