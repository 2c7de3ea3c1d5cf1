"""Tables of ``relay projection``. Pure but for the clock that ages are counted by."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.cli.table import Column, table
from relay.text import age, moment

if TYPE_CHECKING:
    from relay.projection.operator import AuditLine, ParkedEvent, PartitionStatus, RefreshStatus


def partition_table(found: "Sequence[PartitionStatus]") -> list[str]:
    """Lay partitions out, a line each."""
    now = time.time()
    columns = [
        Column("PROJECTION", name=True),
        Column("PART", right=True),
        Column("STATUS"),
        Column("POSITION", right=True),
        Column("APPLIED", right=True),
        Column("REPEATS", right=True),
        Column("PARKED", right=True),
        Column("MOVED", right=True),
        Column("COMPLETE", right=True),
        Column("REASON", rest=True),
    ]
    rows = [
        [
            one.name,
            str(one.partition),
            one.status,
            str(one.position),
            f"{one.applied:,}",
            f"{one.repeats:,}",
            f"{one.parked:,}",
            age(now - one.updated_at),
            "" if one.complete_up_to is None else age(now - one.complete_up_to),
            one.error or (f"{one.crashes} crashes in a row" if one.crashes > 1 else ""),
        ]
        for one in found
    ]
    return list(table(columns, rows))


def refresh_table(found: "Sequence[RefreshStatus]") -> list[str]:
    """Lay out materialised views, a line each."""
    now = time.time()
    columns = [Column("VIEW"), Column("EVERY", right=True), Column("AGE", right=True), Column("TOOK", right=True)]
    columns += [Column("COMPLETE", right=True), Column("FAILED", right=True), Column("REASON", rest=True)]
    rows = [
        [
            one.view,
            age(one.every_s),
            "never" if one.refreshed_at is None else age(now - one.refreshed_at),
            "" if one.took_s is None else age(one.took_s),
            "" if one.complete_up_to is None else age(now - one.complete_up_to),
            str(one.failures or ""),
            one.error or "",
        ]
        for one in found
    ]
    return list(table(columns, rows))


def parked_table(found: "Sequence[ParkedEvent]") -> list[str]:
    """Lay parked events out, a line each."""
    columns = [Column("NUMBER", right=True), Column("SEQ", right=True), Column("STREAM SEQ", right=True)]
    columns += [Column("KEY"), Column("SUBJECT"), Column("WANTED"), Column("REFUSED", right=True), Column("LAST")]
    columns += [Column("REASON", rest=True)]
    now = time.time()
    rows = [
        [
            str(one.number),
            "" if one.seq is None else str(one.seq),
            str(one.stream_seq),
            one.key or "",
            one.subject,
            one.wanted or "",
            "" if not one.refusals else "once" if one.refusals == 1 else f"{one.refusals:,} times",
            "" if one.refused_at is None else moment(one.refused_at, now),
            one.reason,
        ]
        for one in found
    ]
    return list(table(columns, rows))


def audit_table(found: "Sequence[AuditLine]") -> list[str]:
    """Lay out what operators have done, a line each."""
    now = time.time()
    columns = [
        Column("AUDIT", right=True),
        Column("AT"),
        Column("WHO"),
        Column("PROJECTION", name=True),
        Column("ACTION"),
    ]
    columns += [Column("EVENTS", right=True), Column("WHAT", rest=True)]
    rows = [
        [
            str(one.number),
            moment(one.at, now),
            f"{one.who} as {one.role}",
            one.name,
            one.action,
            f"{one.events:,}",
            one.what,
        ]
        for one in found
    ]
    return list(table(columns, rows))
