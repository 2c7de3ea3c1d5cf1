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


def agreed(what: str, count: int, key: str | None, numbers: Sequence[int], consent: Consent) -> bool:
    """Return whether to ``retry`` or ``skip`` events; it says so if nothing is parked, or fewer than were named.

    Args:
        count: How many parked events match.
        key: That was named; None: none was.
        numbers: Those that were named; empty: none was.

    Raises:
        NothingParked: None of those that were named is parked.
    """
    if not count:
        if key is not None or numbers:
            raise NothingParked("no matching parked events: `parked` lists what is parked")
        message("nothing is parked")
        return False
    named = len(set(numbers))
    if count < named:
        message(f"only {count:,} of these {named:,} numbers match a parked event")
    return consent.given(f"{what} {count:,} parked events")


def tell(what: str, name: str, count: int, group: str) -> None:
    """Print what was asked for, and how to see what becomes of it.

    Args:
        group: The command's group: ``projection`` or ``projection redis``.
    """
    click.echo(f"{count:,} parked events to {what}")
    if what == "retry":
        message(f"see what is refused again: relay {group} parked {name}")
