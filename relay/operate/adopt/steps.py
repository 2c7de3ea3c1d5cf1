"""Install, backfill, hand over and remove an adoption, each in one transaction with a line in the audit table."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from relay.operate.adopt import script
from relay.operate.adopt.facts import adoptions, gather, is_of
from relay.operate.adopt.judge import Facts, Refused, not_owned, refusals, unseen_rows
from relay.operate.adopt.left import make_room, require_room
from relay.operate.adopt.mapping import Mapping, Source, literal
from relay.operate.adopt.older_rows import Backfill, Older, copy, look, try_out, understood
from relay.operate.adopt.races import overtaken
from relay.operate.changes import Changer
from relay.operate.status import COUNT_UP_TO
from relay.rules.database.adoption import Adoption, Carried
from relay.text import quoted

# Behind whoever waits for the table's lock all writers of the application wait.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
_LOOK_S = 0.5
_OWNER = "run this as the owner of both tables, and of the publication if there is one: see `relay adopt check`"


class Removal(NamedTuple):
    """What the end of an adoption would be.

    Attributes:
        facts: Of the table.
        carried: How the publication that it is put back into is to carry it; None for no publication.
        tables: How many tables that publication names.
    """

    facts: Facts
    carried: Carried | None
    tables: int


class Installed(NamedTuple):
    """An adoption was begun.

    Attributes:
        lsn: The cut: what was committed before is not copied by the trigger, everything later is.
        copied: How many older rows were copied.
    """

    lsn: str
    copied: int


def install(
    changer: Changer,
    table: str,
    mapping: Mapping,
    preset: str,
    *,
    backfill: Backfill | None = None,
    publication: str | None = None,
) -> Installed:
    """Begin an adoption, in one transaction that keeps writers of the table waiting; in the place of one that is there.

    Args:
        table: The foreign one, as SQL names it.
        backfill: Copy these older rows first; None copies none.
        publication: Take the table out of it in the same transaction: its reader gets what was committed before, and
            nothing that comes later.

    Raises:
        Refused: The mapping cannot be installed, or the table cannot be handed over.
        psycopg.errors.LockNotAvailable: The table was busy for 2 s. Nothing was changed; try again.
    """
    facts, _ = check(changer, table, mapping, backfill=backfill, publication=publication)
    record = {"table": facts.source.label, "preset": preset, "publication": publication}
    with changer.audited("adopt install", record, 1) as audit, _step(changer, _OWNER):
        run = changer.cursor.execute
        _keep_writers_out(changer, facts.source)
        facts = _installable(changer, facts.source.sql, mapping, publication)
        carried = next((one.carried for one in facts.publications if one.name == publication), None)
        lsn = changer.row("adopt/wal")[0]
        if publication is not None:
            _take_out(changer, facts, publication)
        for previous in _own(changer, facts):
            carried = previous.carried
            run(script.remove(facts.source, previous.trigger, previous.function, changer.tables).encode())
        make_room(changer, facts)
        with understood(facts.source):
            run(script.install(mapping, facts.source, facts.outbox, changer.tables, preset, carried).encode())
        copied = copy(changer, facts, mapping, backfill)
        audit.add(1)
    return Installed(lsn, copied)


def check(
    changer: Changer,
    table: str,
    mapping: Mapping,
    *,
    backfill: Backfill | None = None,
    publication: str | None = None,
    slot: str | None = None,
) -> tuple[Facts, Older | None]:
    """Find out what would keep an adoption from beginning, and change nothing.

    Args:
        backfill: As for `install`.
        publication: As for `install`.
        slot: Of the old reader, for `await_slot` later.

    Returns:
        What is known of the table, and what the backfill would copy, None without one.

    Raises:
        Refused: The mapping cannot be installed, the table cannot be handed over, or there is no such slot.
    """
    with _step(changer):
        facts = _installable(changer, table, mapping, publication, slot)
    with _step(changer, _OWNER):
        try_out(changer, facts, mapping)
        older = None if backfill is None else look(changer, facts, mapping, backfill)
        if publication is not None:
            with changer.cursor.connection.transaction(force_rollback=True):
                changer.cursor.execute(_LOCK_TIMEOUT)
                _take_out(changer, facts, publication)
    return facts, older


def _installable(
    changer: Changer, table: str, mapping: Mapping, publication: str | None, slot: str | None = None
) -> Facts:
    """Return what is known of a table, in an open step.

    Raises:
        Refused: An adoption cannot begin, see `check`.
    """
    facts = gather(changer, table, None)
    lacks_slot = slot is not None and not changer.rows("adopt/slot", (slot, "0/0"))
    missing = [f"there is no replication slot {slot}"] if lacks_slot else []
    _refuse([*_faults(mapping, facts), *_obstacles(mapping, facts, publication), *missing])
    require_room(changer, facts)
    return facts


def fill(changer: Changer, table: str, mapping: Mapping, backfill: Backfill) -> int:
    """Copy older rows; return how many were copied. A row that was copied already is left.

    Raises:
        Refused: See `check_fill`.
        psycopg.errors.LockNotAvailable: The table was busy for 2 s. Nothing was changed; try again.
    """
    facts, _ = check_fill(changer, table, mapping, backfill)
    record = {"table": facts.source.label, "where": backfill.where}
    with changer.audited("adopt backfill", record, 0) as audit, _step(changer, _OWNER):
        _keep_writers_out(changer, facts.source)
        facts = _fillable(changer, facts.source.sql, mapping)
        copied = copy(changer, facts, mapping, backfill)
        audit.add(copied)
    return copied


def check_fill(changer: Changer, table: str, mapping: Mapping, backfill: Backfill) -> tuple[Facts, Older]:
    """Find out what would be copied, or keeps it from being copied, and change nothing.

    Without an adoption the rows that are written after the copy would be missed by both.

    Returns:
        What is known of the table, and what would be copied.

    Raises:
        Refused: The mapping or the condition cannot be used, no order of the rows is known, or the table is not adopted
            by this outbox.
    """
    with _step(changer):
        facts = _fillable(changer, table, mapping)
    with _step(changer, _OWNER):
        return facts, look(changer, facts, mapping, backfill)


def _fillable(changer: Changer, table: str, mapping: Mapping) -> Facts:
    """Return what is known of a table, in an open step.

    Raises:
        Refused: Its older rows cannot be copied, see `check_fill`.
    """
    facts = gather(changer, table, None)
    require(mapping, facts)
    if not facts.adopted:
        raise Refused(
            f"{facts.source.label} is not adopted by {facts.outbox}, so rows that are written after the copy would be "
            "missed: `relay adopt install --backfill` copies older rows and begins the adoption in one transaction"
        )
    return facts


def remove(changer: Changer, table: str, *, publication: str | None = None, slot: str | None = None) -> int:
    """End an adoption; what was copied is still sent. Return the newest seq: what was copied is up to it.

    Args:
        publication: Put the table back into it in the same transaction, as it carried the table before.
        slot: Of the reader that gets the table, see `check_removal`.

    Raises:
        Refused: The table is not adopted by this outbox, or cannot be put back. Nothing was changed.
        psycopg.errors.LockNotAvailable: The table was busy for 2 s. Nothing was changed; try again.
    """
    facts = check_removal(changer, table, publication=publication, slot=slot).facts
    record = {"table": facts.source.label, "publication": publication}
    with changer.audited("adopt remove", record, 1) as audit, _step(changer, _OWNER):
        run = changer.cursor.execute
        _keep_writers_out(changer, facts.source)
        facts, carried, tables = _removable(changer, facts.source.sql, publication, slot)
        for adoption in _own(changer, facts):
            run(script.remove(facts.source, adoption.trigger, adoption.function, changer.tables).encode())
        if carried is not None:
            name = quoted(carried.publication)
            # Only one statement can be sent so: the row filter comes from the comment of the trigger.
            run(f"ALTER PUBLICATION {name} ADD TABLE {facts.source.sql}{carried.clause}".encode(), binary=True)
            if changer.row("adopt/publication", (publication,))[-1] != tables + 1:
                raise Refused(f"the comment of the trigger puts more than {table} into publication {publication}")
        # Nobody who wrote to the table is under way, so no later commit has a lower seq of its rows.
        _, newest = changer.row("operate/range")
        audit.add(1)
    return int(newest)


def check_removal(changer: Changer, table: str, *, publication: str | None = None, slot: str | None = None) -> Removal:
    """Find out what would keep an adoption from ending, and change nothing; return what would be done.

    Args:
        slot: Of the reader that gets the table. It must be there, or what is committed before it is made would be
            nobody's; and its reader must be stopped, or it would overtake what the relay has not sent.

    Raises:
        Refused: The table is not adopted by this outbox, or cannot be put back.
    """
    with _step(changer):
        return _removable(changer, table, publication, slot)


def _removable(changer: Changer, table: str, publication: str | None, slot: str | None) -> Removal:
    """Return what the end of an adoption would be, in an open step.

    Raises:
        Refused: See `check_removal`.
    """
    slots = [] if slot is None else changer.rows("adopt/slot", (slot, "0/0"))
    facts = gather(changer, table, None)
    rows = [] if publication is None else changer.rows("adopt/publication", (publication,))
    adopted = _own(changer, facts)
    if not adopted:
        raise Refused(f"{facts.source.label} is not adopted by {facts.outbox}")
    if publication is None:
        return Removal(facts, None, 0)
    if not rows:
        raise Refused(f"there is no publication {publication}")
    of_all, owned, owner, mighty, tables = rows[0]
    if of_all or any(one.name == publication for one in facts.publications):
        raise Refused(f"publication {publication} carries {facts.source.label} already")
    _refuse([*([] if owned else [_not_ours(publication, owner, mighty, facts)]), *_unready(slot, slots)])
    carried = adopted[0].carried
    plain = carried is None or carried.publication != publication
    return Removal(facts, Carried(publication) if plain else carried, tables)


def _unready(slot: str | None, found: Sequence[tuple[Any, ...]]) -> list[str]:
    """Return why a slot cannot take over."""
    if slot is None:
        return []
    if not found:
        make = f"SELECT pg_create_logical_replication_slot({literal(slot)}, 'pgoutput')"
        return [f"there is no slot {slot}, so what is committed until its reader makes one would be nobody's: {make}"]
    active = found[0][1]
    return [f"the reader of slot {slot} is at work, and would overtake what waits here: stop it"] if active else []


def await_sent(changer: Changer, newest: int, timeout_s: float) -> int:
    """Wait until the relay has sent everything up to a seq, dead letters apart; return how many events it has not."""
    deadline = time.monotonic() + timeout_s
    while True:
        with changer.step():
            watermark, _ = changer.row("operate/range")
            (pending,) = changer.row("operate/backlog", (watermark, newest, COUNT_UP_TO))
        if not pending or time.monotonic() > deadline:
            return int(pending)
        time.sleep(_LOOK_S)


def await_slot(changer: Changer, slot: str, lsn: str, timeout_s: float) -> bool:
    """Wait until the reader of a slot has confirmed everything up to a position; return whether it has.

    Raises:
        Refused: There is no such slot.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with changer.step():
            found = changer.rows("adopt/slot", (slot, lsn))
        if not found:
            raise Refused(f"there is no replication slot {slot}")
        if found[0][0]:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)


def _own(changer: Changer, facts: Facts) -> list[Adoption]:
    """Return the adoption of the table by this outbox, in an open step; empty if there is none."""
    return [one for one in adoptions(changer) if is_of(one, facts.source.sql, facts.outbox)]


def require(mapping: Mapping, facts: Facts) -> None:
    """Refuse a mapping that cannot be installed.

    Raises:
        Refused: With every reason.
    """
    _refuse(_faults(mapping, facts))


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise Refused("\n".join(reasons))


def _faults(mapping: Mapping, facts: Facts) -> list[str]:
    return [f"{one.seen}: {one.do}" if one.do else one.seen for one in refusals(mapping, facts)]


def _obstacles(mapping: Mapping, facts: Facts, publication: str | None) -> list[str]:
    """Return what keeps an adoption from beginning that could be installed."""
    if publication is None:
        return []
    found = ["the table is adopted already, so there is nothing to take over"] if facts.adopted else []
    known = {one.name: one for one in facts.publications}
    if publication not in known:
        found.append(f"publication {publication} does not carry the table")
    elif known[publication].of_all:
        found.append(
            f"publication {publication} is FOR ALL TABLES, or of a whole schema: let it name its tables, without the "
            "outbox"
        )
    else:
        one = known[publication]
        found += [] if one.owned else [_not_ours(publication, one.owner, one.mighty, facts)]
        if (unseen := unseen_rows(mapping, one)) is not None:
            found.append(f"{unseen.seen}: {unseen.do}")
    if facts.relay_runs:
        found.append(
            f"a relay works on {facts.outbox}: its later events would overtake what the old reader has not sent; "
            "stop it, and start it when the slot has passed the cut"
        )
    return found


def _take_out(changer: Changer, facts: Facts, publication: str) -> None:
    """Take the table out of a publication, in an open step.

    Raises:
        Refused: The publication sends its rows all the same: by its schema, a partition, or what it is a partition of.
    """
    changer.cursor.execute(f"ALTER PUBLICATION {quoted(publication)} DROP TABLE {facts.source.sql}".encode())
    left = [name for (name,) in changer.rows("adopt/still_carried", (publication, facts.source.sql))]
    if left:
        raise Refused(
            f"without {facts.source.label} publication {publication} still sends rows of it, by what else it names: it "
            f"carries {', '.join(left)}; let it name {facts.source.label} alone of these, and no schema that holds them"
        )


def _not_ours(publication: str, owner: str, mighty: bool, facts: Facts) -> str:
    """Return why this login may not change a publication."""
    login = facts.rights.login
    found = not_owned(f"publication {publication}", f"PUBLICATION {quoted(publication)}", owner, mighty, login)
    return f"{found.seen}: {found.do}"


@contextmanager
def _step(changer: Changer, needs: str | None = None) -> Iterator[None]:
    """Open a transaction, as `Changer.step` does.

    Raises:
        Refused: Another operator's change came between. Nothing was changed.
        Denied: This login lacks a right. Nothing was changed.
    """
    with overtaken(), changer.step(needs):
        yield


def _keep_writers_out(changer: Changer, source: Source) -> None:
    """Lock the table until the end of the transaction."""
    changer.cursor.execute(_LOCK_TIMEOUT)
    changer.cursor.execute(script.lock(source, changer.tables).encode())
