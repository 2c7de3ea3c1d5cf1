"""Delete old events by hand: how many there are, and deleting them in small steps."""

import asyncio
import time

from relay.config.settings import Settings
from relay.maintenance.retention import DEAD_STEP, SPAN
from relay.operate.changes import Changer, OnProgress
from relay.operate.prune_look import last_seen, look
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.settling.deletable_dead import DeletableDead
from relay.rules.stream.stream_loss import DeliveredRow

# Counting holds nobody up; deleting leaves room for others after each step.
_COUNT_SPAN = 50_000
_STEP_PAUSE_S = 0.05
# The streams are looked at once for so many steps, over a connection that is made for it: a second of deleting.
_STEPS_A_LOOK = 10
# Rows that become old enough before the next look are looked for as well, seconds.
_A_LOOK_S = 60.0


class Age:
    """How old events must be: what becomes that old after this was made was not counted, and stays.

    Attributes:
        before: When they were delivered, or dead, at the latest; Unix seconds by the database's clock.
        asked_s: The age that was asked for, seconds.
    """

    def __init__(self, changer: Changer, age_s: float) -> None:
        """Count from now on."""
        self._changer = changer
        self.before = _now(changer) - age_s
        self.asked_s = age_s

    def in_step(self) -> float:
        """Return how old such events are at least as the step began that is open, seconds, for its queries.

        These count from then on as well: however long it takes, no later event is that old.
        """
        (began,) = self._changer.row("operate/step_began")
        return float(began) - self.before


def count_delivered(changer: Changer, age: Age) -> int:
    """Count the delivered events below the watermark that are old enough."""
    count, above = 0, BELOW_ALL
    while True:
        with changer.step():
            first = _first_above(changer, above)
        if first is None:
            return count
        above = first - 1
        with changer.step():
            (found,) = changer.row("operate/prunable", (above, above + _COUNT_SPAN, age.in_step()))
        count += found
        above += _COUNT_SPAN


def count_dead(changer: Changer, age: Age, deletable: DeletableDead) -> int:
    """Count the deletable dead letters that are old enough."""
    with changer.step():
        (count,) = changer.row("operate/prunable_dead", (age.in_step(), *deletable))
    return int(count)


def check(changer: Changer) -> None:
    """Find out whether this role may delete, and change nothing.

    Raises:
        Denied: It may not.
    """
    changer.check(("maintenance/prune_dead", (0, 0.0, True, True, None, None, None)))


def check_streams(settings: Settings, changer: Changer) -> None:
    """Find out whether each stream still holds what it has acknowledged; change nothing.

    Raises:
        OpenLoss: One does not.
        Unreachable: NATS did not answer, or does not let us look.
    """
    asyncio.run(look(settings, last_seen(changer), (), _now(changer)))


def _now(changer: Changer) -> float:
    with changer.step():
        (now,) = changer.row("ownership/clock")
    return float(now)


def _look_ahead(settings: Settings, changer: Changer, above: int, before: float) -> int:
    """Find out whether the streams still hold what is deleted in the next steps, by some of the rows.

    Returns:
        The seq up to which that is known.

    Raises:
        OpenLoss: One does not.
        Unreachable: NATS did not answer, or does not let us look.
    """
    seen = last_seen(changer)
    now = _now(changer)
    spans: list[dict[str, list[DeliveredRow]]] = []
    for _ in range(_STEPS_A_LOOK):
        with changer.step():
            found = changer.rows("integrity/delivered", (above, above + SPAN, None, 0, None, 1))
        span: dict[str, list[DeliveredRow]] = {}
        for *row, stream in found:
            one = DeliveredRow._make(row)
            if one.delivered_at < before + _A_LOOK_S:
                span.setdefault(stream, []).append(one)
        spans.append(span)
        above += SPAN
    if any(spans):
        asyncio.run(look(settings, seen, spans, now))
    return above


def delete_delivered(
    settings: Settings, changer: Changer, age: Age, planned: int, on_progress: OnProgress, *, accept_loss: bool
) -> int:
    """Delete old delivered events, range by range, each in a transaction with its count in the audit table.

    The streams are asked for some of the rows before these are deleted, as a relay does.

    Args:
        age: That they were counted by.
        planned: How many were counted, for the audit table.
        accept_loss: Look at no stream.

    Returns:
        How many were deleted.

    Raises:
        OpenLoss: A stream has lost events. The steps before are done, and counted in the audit table.
        Unreachable: A stream cannot be looked at. The same.
        BrokenOff: PostgreSQL failed. The steps before are done, and counted in the audit table.
    """
    record: dict[str, object] = {"what": "delivered events", "older_than_s": round(age.asked_s)}
    deleted, above, looked_up_to = 0, BELOW_ALL, BELOW_ALL
    with changer.audited("prune", record, planned) as audit:
        while True:
            with changer.step():
                first = _first_above(changer, above)
            if first is None:
                return deleted
            above = first - 1
            if not accept_loss and above + SPAN > looked_up_to:
                looked_up_to = _look_ahead(settings, changer, above, age.before)
            with changer.step():
                span = (above, above + SPAN, age.in_step())
                count, *_ = changer.row("maintenance/prune_delivered", (*span, None, None, None))
                if count:
                    audit.add(count)
            above += SPAN
            deleted += count
            on_progress(count)
            if count:
                time.sleep(_STEP_PAUSE_S)


def delete_dead(changer: Changer, age: Age, planned: int, on_progress: OnProgress, deletable: DeletableDead) -> int:
    """Delete old dead letters, step by step, each in a transaction with its count in the audit table.

    Args:
        age: That they were counted by.
        planned: How many were counted, for the audit table.
        deletable: Which may be deleted.

    Returns:
        How many were deleted.

    Raises:
        BrokenOff: PostgreSQL failed. The steps before are done, and counted in the audit table.
    """
    record: dict[str, object] = {"what": "dead letters", "older_than_s": round(age.asked_s)}
    deleted = 0
    with changer.audited("prune", record, planned) as audit:
        while True:
            with changer.step():
                params = (DEAD_STEP, age.in_step(), *deletable, None, None, None)
                count = changer.run("maintenance/prune_dead", params)
                if count:
                    audit.add(count)
            deleted += count
            on_progress(count)
            if count < DEAD_STEP:
                return deleted
            time.sleep(_STEP_PAUSE_S)


def _first_above(changer: Changer, seq: int) -> int | None:
    """Return the lowest seq in the table above one, None without one: a wide gap costs nothing."""
    rows = changer.rows("delivery/next_seq", (seq,))
    return int(rows[0][0]) if rows else None
