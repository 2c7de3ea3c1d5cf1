"""The command that makes a stream: one for the console, the doctor and explanations. Pure."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple


class StreamLimits(NamedTuple):
    """What a stream was set to when it was seen last, as far as ``relay stream create`` can say it.

    Attributes:
        max_age_s: Seconds; 0 keeps messages for ever.
        max_bytes: -1 sets no limit; likewise `max_msgs`, and `max_msg_size` in bytes of one message.
    """

    replicas: int = 1
    duplicate_window_s: float = 120.0
    max_age_s: float = 0.0
    max_bytes: int = -1
    max_msgs: int = -1
    max_msg_size: int = -1

    def options(self) -> list[str]:
        """Return what differs from a stream that is made without options."""
        plain = StreamLimits()
        found = []
        for name, value in self._asdict().items():
            if value != getattr(plain, name):
                told = f"{value:.0f}s" if name.endswith("_s") else str(value)
                found += [f"--{name.removesuffix('_s').replace('_', '-')}", told]
        return found


def create_command(name: str, subjects: Sequence[str], limits: StreamLimits | None = None) -> str:
    """Return the command that makes a stream for some subjects.

    Args:
        limits: Those that it had; None if nobody knows.
    """
    took = subjects or ("SUBJECT",)
    given = [] if limits is None else limits.options()
    return shlex.join(
        ["relay", "stream", "create", name, *(word for one in took for word in ("--subject", one)), *given]
    )
