"""Which dead letters may be deleted once they are old enough. Pure: no I/O."""

from typing import NamedTuple


class DeletableDead(NamedTuple):
    """What an old dead letter must have gone through.

    One that an operator has discarded may always go: nobody waits for it, and no copy of it is made any more.

    Attributes:
        discarded_only: No other may: with ``failures.on_dead = "block"`` keys wait for them.
        copied_only: Others only if their copy on ``failures.dead_subject`` is stored: it is made from the row alone.
    """

    discarded_only: bool
    copied_only: bool
