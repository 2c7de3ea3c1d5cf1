"""What a kind of fault is."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.world import World

# Makes the fault, lets it end, and gives its target.
Make = Callable[[World, random.Random], Awaitable[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        component: Two faults of one component would end each other, and are not made at once.
        weight: How often it comes, against the others.
        of_readers: Whether only the read models suffer: the run goes on while they catch up.
    """

    component: str
    name: str
    make: Make
    weight: int = 2
    of_readers: bool = False
