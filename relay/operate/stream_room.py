"""How large a limit of a stream has to be for what it holds, for what waits, and for some time. Pure."""

import math
from typing import Literal

Limit = Literal["max_msgs", "max_bytes"]

# What is added to what is needed: a share of that, or what comes in four hours if it is more: well beyond the hour from
# which on a stream is said to be full soon.
_RESERVE = 0.25
_RESERVE_S = 4 * 3600.0


def raised_limit(used: int, limit: int, waiting: float | None, growth: float | None = None) -> int:
    """Return a limit that makes room.

    Args:
        used: What the stream holds, in what the limit counts; likewise what `waiting` waits for it.
        waiting: None if nobody has counted: as much as it holds is assumed.
        growth: By how much it grows in a second, None if nobody knows.
    """
    needed = max(used, limit) + (used if waiting is None else waiting)
    reserve = max(needed * _RESERVE, (growth or 0.0) * _RESERVE_S)
    return rounded(needed + reserve)


def of_messages(events: float, limit: Limit, messages: int, size: int) -> float:
    """Return what events will take of a limit, by the mean of what the stream holds.

    Args:
        events: How many, or how many a second.
        messages: How many it holds, and `size` how many bytes these take.
    """
    return events if limit == "max_msgs" else events * size / max(1, messages)


def option_to_raise(limit: Limit, to: int) -> str:
    """Return the option of `relay stream edit` that sets a limit."""
    return f"--{limit.replace('_', '-')} {to}"


def rounded(value: float) -> int:
    """Return a number of two digits and zeros that is not below a value."""
    whole = max(1, math.ceil(value))
    step = int(10 ** max(0, len(str(whole)) - 2))
    return -(-whole // step) * step
