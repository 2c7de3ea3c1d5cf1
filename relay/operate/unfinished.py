"""Changes that ended before all was done: what is left of one, from its line in the audit table, and going on with it.

A line says which events were meant. What it has not counted was not changed: each batch is counted in the transaction
that changes it. So a change goes on from its line alone, whatever became of the process that began it.
"""

import json
from dataclasses import replace
from typing import Literal, NamedTuple

from relay.errors import RelayError
from relay.operate.access import Reader
from relay.operate.changes import Audit, AuditLine, Changer, audit_line
from relay.operate.filters import Filters, from_record
from relay.operate.replay import Plan, planned_before

Kind = Literal["retry", "discard", "replay"]
_KINDS: dict[str, Kind] = {"dead retry": "retry", "dead discard": "discard", "replay": "replay"}
_RATE = 2000.0
RESUME = "resume"
"""The action of a line that names who goes on with another one."""


class CannotGoOn(RelayError):
    """A change cannot be gone on with. Nothing was done."""


class Unfinished(NamedTuple):
    """What is left of a change.

    Attributes:
        line: In the audit table.
        filters: Which events were meant. Of dead letters those that had died when it began: later ones were not meant.
        plan: The rest of a replay; None for dead letters.
    """

    line: AuditLine
    kind: Kind
    filters: Filters
    plan: Plan | None


def can_go_on(line: AuditLine) -> bool:
    """Report whether a line is of a change that can be gone on with."""
    return line.ended_at is None and line.action in _KINDS


def find_unfinished(reader: Reader, number: int) -> Unfinished:
    """Return what is left of a change, by its number in the audit table.

    Raises:
        CannotGoOn: There is no such change, or it is done.
    """
    line = audit_line(reader, number)
    if line is None or line.action not in _KINDS:
        raise CannotGoOn(f"{number} is no change that can be gone on with; see `relay audit`")
    if not can_go_on(line):
        raise CannotGoOn(f"change {number} is done")
    record = json.loads(line.filter)
    filters = from_record(record)
    kind = _KINDS[line.action]
    if kind == "replay":
        return Unfinished(line, kind, filters, planned_before(line, float(record.get("rate", _RATE))))
    until = line.began_at if filters.until is None else min(filters.until, line.began_at)
    return Unfinished(line, kind, replace(filters, until=until), None)


def go_on(changer: Changer, number: int) -> Audit:
    """Write down who goes on with a change, in a line of its own; return the line of the change, to count in.

    Nobody may alter who a line names, and the change goes on to be counted in one place. The caller has claimed the
    change (`relay.operate.claim`).

    Raises:
        CannotGoOn: It was done meanwhile.
    """
    with changer.step():
        found = find_unfinished(changer, number)
    changer.begin(RESUME, {"change": number}, 0).end()
    return changer.resume(found.line)
