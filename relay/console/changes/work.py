"""Look for what an order means, and carry it out, with the rights of ``console.operator_dsn_file``."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from relay.config.settings import Settings
from relay.console.changes.jobs import Job
from relay.console.changes.order import Order
from relay.credentials import IdentityError, secret
from relay.errors import ConfigError
from relay.operate import dead_letters, replay
from relay.operate.access import Reader
from relay.operate.changes import Changer, changing
from relay.operate.dead_letters import Decision
from relay.operate.events import ListedEvent, find

_EXAMPLES = 10
_EXAMPLE_SCAN = 1_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What a preview shows.

    Attributes:
        order: With what is meant fixed.
        count: How many match.
        examples: Some of them.
    """

    order: Order
    count: int
    examples: list[ListedEvent]


def operator_settings(settings: Settings) -> Settings:
    """Return the settings with the address by which changes are made; its file is read again each time.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        dsn = secret(Path(settings.console.operator_dsn_file))
    except IdentityError as error:
        raise ConfigError([f"[console] operator_dsn_file: {error}"]) from None
    return settings.model_copy(update={"postgres": settings.postgres.model_copy(update={"dsn": SecretStr(dsn)})})


def preview(settings: Settings, order: Order, acting: str, now: float) -> Shown:
    """Find out what an order would do, and whether it may be done; change nothing.

    Args:
        settings: With the operator's address.
        acting: Who asks, for the audit table.

    Raises:
        RelayError: It may not be done, or not begun.
        psycopg.Error: PostgreSQL refuses it.
    """
    with changing(settings, acting) as changer:
        with changer.step():
            (newest,) = changer.row("delivery/newest")
        fixed = order.fixed(now, newest)
        if order.is_replay:
            plan = _plan(changer, fixed)
            extent = replay.measure(changer, plan, _unheard)
            replay.check(settings, changer, plan, extent)
            count = extent.events
        else:
            dead_letters.check(changer, decision(order))
            with changer.step():
                count = len(dead_letters.matching(changer, fixed.form.filters))
        with changer.step():
            examples = _examples(changer, fixed)
    return Shown(fixed, count, examples)


def carry_out(settings: Settings, order: Order, acting: str, job: Job) -> None:
    """Do what was ordered, in batches, each counted in the audit table. Called in a thread of its own.

    Raises:
        RelayError: It was broken off; what the audit table counts is done.
        psycopg.Error: Likewise.
        Stopped: The console is told to stop.
    """
    with changing(settings, acting) as changer:
        if not order.is_replay:
            filters = order.form.filters
            with changer.step():
                seqs = dead_letters.matching(changer, filters)
            job.begin(len(seqs))
            job.finish(dead_letters.decide(changer, decision(order), filters, seqs, job.advance))
            return
        plan = _plan(changer, order)
        extent = replay.measure(changer, plan, _unheard)
        audit = replay.begin(changer, plan, extent.events)
        job.begin(extent.events, f"relay replay --resume {audit.number}")
        run = replay.Replay(settings, changer, plan, audit, job.tell)
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
