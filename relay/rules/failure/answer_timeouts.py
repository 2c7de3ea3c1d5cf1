"""How long to wait for whoever does not answer, each by itself. Pure: no I/O, no clock."""

from dataclasses import dataclass

# Beyond this many silent ones all are waited for again.
_MOST = 10_000


@dataclass(slots=True)
class _Silence:
    since: float
    is_over: bool = False
    ask_at: float = 0.0


class Patience:
    """Which places are waited for: streams, or subjects whose stream is not known.

    Args:
        patience_s: How long a place is waited for; afterwards it is asked once in such a time.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._silences: dict[str, _Silence] = {}

    def may_ask(self, place: str, now: float) -> bool:
        """Report whether to ask a place now, monotonic seconds."""
        silence = self._silences.get(place)
        return silence is None or now >= silence.ask_at

    def is_over(self, place: str) -> bool:
        """Report whether to do without a place."""
        silence = self._silences.get(place)
        return silence is not None and silence.is_over

    def no_answer(self, place: str, now: float, *, refused: bool) -> None:
        """Note that a place did not answer.

        Args:
            now: Monotonic seconds.
            refused: For want of a right: waiting would not help.
        """
        if place not in self._silences and len(self._silences) >= _MOST:
            self._silences.clear()
        silence = self._silences.setdefault(place, _Silence(now))
        if refused or now - silence.since >= self._patience_s:
            silence.is_over, silence.ask_at = True, now + self._patience_s

    def answered(self, place: str) -> None:
        """Note that a place has answered."""
        self._silences.pop(place, None)

    def begin_again(self) -> None:
        """Wait for each place again: over a new connection everything may be different."""
        self._silences.clear()
