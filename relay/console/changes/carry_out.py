"""Look for what an order means, and carry it out, with the rights of ``console.operator_dsn_file``."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relay.config.child_process import PlainSecret
from relay.console.changes.jobs import Job
from relay.console.changes.order import Order, rest_of
from relay.credentials import IdentityError, secret
from relay.errors import ConfigError
from relay.operate import dead_letters, replay
from relay.operate.access import Reader
from relay.operate.changes import Audit, Changer, audit_lines, changing
from relay.operate.claim import check_free, claimed
from relay.operate.dead_letters import Decision
from relay.operate.events import ListedEvent, find
from relay.operate.previews import named
from relay.operate.unfinished import find_unfinished, go_on

if TYPE_CHECKING:
    from relay.config.settings import Settings

_EXAMPLES = 10
_EXAMPLE_SCAN = 1_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What a preview shows.

    Attributes:
        order: With what is meant fixed.
        count: How many match.
        examples: Some of them.
        name: Of this preview, which can be confirmed once.
    """

    order: Order
    count: int
    examples: list[ListedEvent]
    name: str


def operator_settings(settings: "Settings") -> "Settings":
    """Return the settings with the address by which changes are made; its file is read again each time.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        dsn = secret(Path(settings.console.operator_dsn_file))
    except IdentityError as error:
        raise ConfigError([f"[console] operator_dsn_file: {error}"]) from None
    return settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"dsn": PlainSecret(dsn)})})


def preview(settings: "Settings", order: Order | int, acting: str, now: float) -> Shown:
    """Find out what an order would do, and whether it may be done; change nothing.

    Args:
        settings: With the operator's address.
        order: Or the number of a change, of which the rest is meant.
        acting: Who asks, for the audit table.

    Raises:
        RelayError: It may not be done, or not begun.
        psycopg.Error: PostgreSQL refuses it.
    """
    with changing(settings, acting) as changer:
        plan = None
        if isinstance(order, int):
            with changer.step():
                check_free(changer, order)
                found = find_unfinished(changer, order)
            fixed, plan = rest_of(found), found.plan
        else:
            with changer.step():
                (newest,) = changer.row("delivery/newest")
            fixed = order.fixed(now, newest)
        if fixed.is_replay:
            plan = _plan(changer, fixed) if plan is None else plan
            extent = replay.measure(changer, plan, _unheard)
            replay.check(settings, changer, plan, extent)
            count = extent.events
        else:
            dead_letters.check(changer, decision(fixed))
            with changer.step():
                count = len(dead_letters.matching(changer, fixed.form.filters))
        with changer.step():
            examples = _examples(changer, fixed)
            newest_line = audit_lines(changer, 1)
    return Shown(fixed, count, examples, named(newest_line[0].number if newest_line else 0))


@dataclass(frozen=True)
class Begun:
    """A change on which this process alone is at work, until `close`.

    Attributes:
        settings: With the operator's address.
        audit: Its line in the audit table.
        held: What is held for it: the connections.
    """

    settings: "Settings"
    changer: Changer
    audit: Audit
    held: ExitStack

    def close(self) -> None:
        """Let go of it: another process may go on with what is left."""
        self.held.close()


def begin(settings: "Settings", shown: Shown, acting: str, name: str) -> Begun:
    """Write down in the audit table that what was shown is begun, or gone on with.

    From then on it can be gone on with, whatever becomes of this process.

    Args:
        settings: With the operator's address.
        shown: What is meant, as it is now.
        acting: Who confirms it.
        name: Of the preview that is confirmed.

    Raises:
        Confirmed: It was confirmed before.
        Taken: Another process is at work on it.
        CannotGoOn: It was done meanwhile.
        psycopg.Error: PostgreSQL refuses it.
    """
    order = shown.order
    with ExitStack() as stack:
        changer = stack.enter_context(changing(settings, acting))
        if order.rest_of is not None:
            stack.enter_context(claimed(settings, changer, order.rest_of))
            audit = go_on(changer, order.rest_of)
        else:
            if order.is_replay:
                audit = replay.begin(changer, _plan(changer, order), shown.count, name)
            else:
                audit = dead_letters.begin(changer, decision(order), order.form.filters, shown.count, name)
            stack.enter_context(claimed(settings, changer, audit.number))
        return Begun(settings, changer, audit, stack.pop_all())


def carry_out(begun: Begun, job: Job) -> None:
    """Do what is left of a change that was begun, in batches, each counted in the audit table; then let go of it.

    Called in a thread of its own.

    Raises:
        RelayError: It was broken off; what the audit table counts is done.
        psycopg.Error: Likewise.
        Stopped: The console is told to stop.
    """
    changer, audit = begun.changer, begun.audit
    with begun.held:
        with changer.step():
            found = find_unfinished(changer, audit.number)
        if found.plan is None:
            with changer.step():
                seqs = dead_letters.matching(changer, found.filters)
            job.begin(len(seqs))
            choice: Decision = "discard" if found.kind == "discard" else "retry"
            job.finish(dead_letters.decide(changer, choice, audit, seqs, job.advance))
            return
        job.begin(replay.measure(changer, found.plan, _unheard).events)
        run = replay.Replay(begun.settings, changer, found.plan, audit, job.tell)
        asyncio.run(run.run(job.advance))
        job.finish(run.sent)


def decision(order: Order) -> Decision:
    """Return what is decided about dead letters."""
    return "retry" if order.action == "retry" else "discard"


def _plan(changer: Changer, order: Order) -> replay.Plan:
    plan = replay.Plan(order.form.filters, order.subject or None, False, order.action == "replay-discarded", order.rate)
    return replay.planned(changer, plan)


def _examples(reader: Reader, order: Order) -> list[ListedEvent]:
    match order.action:
        case "retry" | "discard":
            return find(reader, "dead", order.form.filters, _EXAMPLES, 0).events
        case "replay":
            return find(reader, "delivered", order.form.filters, _EXAMPLES, _EXAMPLE_SCAN).events
        case "replay-discarded":
            return find(reader, "discarded", order.form.filters, _EXAMPLES, 0).events


def _unheard(_: int) -> None:
    """Pass over how far counting is."""
