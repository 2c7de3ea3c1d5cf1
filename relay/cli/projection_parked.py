"""What the commands share that decide about parked events, in PostgreSQL and in Redis."""

import functools
from collections.abc import Sequence

import click

from relay.cli.consent import Consent
from relay.cli.table import message
from relay.errors import RelayError

numbers_option = functools.partial(
    click.option,
    "--number",
    "numbers",
    type=int,
    multiple=True,
    help="Only the event of this number, as `parked` lists it; may be given several times.",
)


class NothingParked(RelayError):
    """None of the events that were named is parked. Nothing was changed."""


def said(what: str, count: int, behind: int) -> str:
    """Return what happens to so many parked events, and to those that only wait behind them."""
    events = "1 parked event" if count == 1 else f"{count:,} parked events"
    follow = (
        f"; {behind:,} behind {'it' if count == 1 else 'them'} follow{'s' if behind == 1 else ''}" if behind else ""
    )
    return f"{what} {events}{follow}"


def agreed(what: str, counts: tuple[int, int], key: str | None, numbers: Sequence[int], consent: Consent) -> bool:
    """Return whether to ``retry`` or ``skip`` events; it says so if nothing is parked, or fewer than were named.

    Args:
        counts: How many parked events match, and how many wait behind these alone.
        key: That was named; None: none was.
        numbers: Those that were named; empty: none was.

    Raises:
        NothingParked: None of those that were named is parked.
    """
    count, behind = counts
    if not count:
        if key is not None or numbers:
            raise NothingParked("no matching parked events: `parked` lists what is parked")
        message("nothing is parked")
        return False
    named = len(set(numbers))
    if count < named:
        message(f"only {count:,} of these {named:,} numbers match a parked event")
    return consent.given(said(what, count, behind))


def tell(what: str, name: str, count: int, behind: int, group: str) -> None:
    """Print what was asked for, and how to see what becomes of it.

    Args:
        behind: How many wait behind these events alone, and follow.
        group: The command's group: ``projection`` or ``projection redis``.
    """
    click.echo(f"asked to {said(what, count, behind)}")
    if what == "retry":
        message(f"see what is refused again: relay {group} parked {name}")
