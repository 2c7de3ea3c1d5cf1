"""What all commands that change something share: say what would be done, and ask."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from relay.cli.table import message
from relay.errors import Exit, RelayError


class Declined(RelayError):
    """The operator said no. Nothing was changed."""

    exit_code = Exit.DECLINED


class Unasked(RelayError):
    """Nobody is there to be asked, and ``--yes`` was not given. Nothing was changed."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether a change may be made: only shown, agreed beforehand, or to be asked for."""

    dry_run: bool
    yes: bool

    def given(self, what: str) -> bool:
        """Ask whether to do `what`, such as ``discard 12 dead letters``; False for a dry run.

        Raises:
            Declined: The answer was no.
            Unasked: There is no terminal to ask on.
        """
        if self.dry_run:
            message(f"dry run, nothing is changed: would {what}")
            return False
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Unasked(f"to {what} without a terminal to ask on, use --yes (or --dry-run to look first)")
        try:
            agreed = click.confirm(f"{what[0].upper()}{what[1:]}?", err=True)
        except click.Abort:
            # Ctrl-C, or Ctrl-D: the line of the question has no end yet.
            click.echo(err=True)
            agreed = False
        if not agreed:
            raise Declined("nothing was changed")
        return True


def consenting(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--dry-run`` and ``--yes`` to a command; it is called with ``consent``."""

    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @click.option("--yes", "-y", is_flag=True, help="Do not ask.")
    @functools.wraps(command)
    def wrapped(*args: Any, dry_run: bool, yes: bool, **params: Any) -> None:
        command(*args, consent=Consent(dry_run, yes), **params)

    return wrapped
