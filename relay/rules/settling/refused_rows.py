"""Rows that the database refuses to change, as a constraint or a trigger may. Pure: no I/O, no clock.

Such a row is tried again after growing pauses, until an operator has mended what refuses it. Nothing else waits for it.
"""

from dataclasses import dataclass

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
# If none is changed for so long while some are refused, nothing may be.
_NONE_S = 10.0
# So many refused rows have no faults of their own.
_MANY = 10
# Distinct reasons that are remembered, so that each is new once.
_REASONS = 100

KEPT = "a trigger or a rule keeps the row as it is, without an error"
"""Why a row is not changed if the statement succeeds, the row has no lock, and the shards are ours."""


@dataclass(slots=True)
class _Refusal:
    pause_s: float
    next_at: float


class RefusedRows:
    """Says when to try such rows again, and which refusal is new. Times are monotonic seconds.

    Attributes:
        reason: Why a row was refused last; empty before any was.
    """

    def __init__(self) -> None:
        self.reason = ""
        # Since when every row was refused.
        self._none_since: float | None = None
        self._rows: dict[int, _Refusal] = {}
        self._reasons: set[str] = set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def __contains__(self, seq: int) -> bool:
        """Report whether a row is one of them."""
        return seq in self._rows

    def refused(self, seq: int, reason: str, now: float) -> bool:
        """Note that a row was refused; return whether the reason is new."""
        self.reason = reason
        if self._none_since is None:
            self._none_since = now
        before = self._rows.get(seq)
        pause_s = _PAUSE_S if before is None else min(before.pause_s * 2, _LONGEST_PAUSE_S)
        self._rows[seq] = _Refusal(pause_s, now + pause_s)
        is_new = reason not in self._reasons and len(self._reasons) < _REASONS
        if is_new:
            self._reasons.add(reason)
        return is_new

    def waits(self, seq: int, now: float) -> bool:
        """Report whether a row is not to be tried yet."""
        row = self._rows.get(seq)
        return row is not None and now < row.next_at

    def next_at(self, seq: int) -> float:
        """Return when a refused row is to be tried again."""
        return self._rows[seq].next_at

    def accepted(self, seq: int) -> None:
        """Forget a row that was changed after all."""
        if self._rows.pop(seq, None) is not None and not self._rows:
            # What refuses rows after this is new again.
            self._reasons.clear()

    def accepted_any(self) -> None:
        """Note that some row was changed, whichever."""
        self._none_since = None

    def accepts_none(self, now: float) -> str | None:
        """Return why rows are refused, if ten or more are and none was changed for 10 s; else None.

        Fewer may each have a fault of its own, which says nothing of the next one.
        """
        if len(self._rows) < _MANY or self._none_since is None or now - self._none_since < _NONE_S:
            return None
        return self.reason
