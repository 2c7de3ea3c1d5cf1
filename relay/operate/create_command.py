"""The command that makes a stream: one for the console, the doctor and explanations. Pure."""

import shlex
from collections.abc import Sequence


def create_command(name: str, subjects: Sequence[str]) -> str:
    """Return the command that makes a stream for some subjects."""
    took = subjects or ("SUBJECT",)
    return shlex.join(["relay", "stream", "create", name, *(word for one in took for word in ("--subject", one))])
