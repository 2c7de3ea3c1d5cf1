"""What the commands share that decide about parked events, in PostgreSQL and in Redis."""

import functools
from collections.abc import Sequence

import click

from relay.cli.consent import Consent
from relay.cli.table import message

numbers_option = functools.partial(
    click.option,
    "--number",
    "numbers",
    type=int,
    multiple=True,
    help="Only the event of this number, as `parked` lists it; may be given several times.",
)


def agreed(what: str, count: int, numbers: Sequence[int], consent: Consent) -> bool:
    """Return whether to ``retry`` or ``skip`` events; it says so if there are none, or fewer than were named.

    Args:
        count: How many parked events match.
        numbers: Those that were named; empty: none was.
    """
    if not count:
        message("no matching parked events")
        return False
    named = len(set(numbers))
    if count < named:
        message(f"only {count:,} of these {named:,} numbers match a parked event")
    return consent.given(f"{what} {count:,} parked events")
