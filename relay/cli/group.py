"""The group of all commands: finds the one that was asked for, and turns its faults into exit codes."""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from relay import interrupts
from relay.cli.lazy import loaded
from relay.errors import Exit, RelayError
from relay.text import printable

if TYPE_CHECKING:
    import psycopg

# What a shell reports of a program that SIGPIPE ends.
_CLOSED_PIPE = 141
# Commands write nothing but their output, so these are about it.
_LOST_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EIO)


class Commands(click.Group):
    """Turns what was foreseen into a line on stderr and an exit code; anything else keeps its traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line. Output that cannot be written ends it with one line, or none for a closed pipe."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A character that the terminal's encoding lacks is shown as its escape.
                stream.reconfigure(errors="backslashreplace")
        words = list((args[0] if args else kwargs.get("args")) or sys.argv[1:])
        for number, word in enumerate(words, 1):
            if not word.isascii() and word != word.encode(errors="ignore").decode():
                click.echo(f"{click.style('error:', fg='red')} argument {number} is not UTF-8", err=True)
                sys.exit(Exit.CONFIG)
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if error.errno not in _LOST_OUTPUT:
                raise
            sys.exit(_lost_output(error))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is to run, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else loaded(command), rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            try:
                interrupts.working()
                return super().invoke(ctx)
            finally:
                interrupts.done()
        except RelayError as error:
            _fail(ctx, error.exit_code, str(error))
        except _postgres_errors() as error:
            from relay.operate.access import foreseen

            told = foreseen(error)
            if told is None:
                raise
            _fail(ctx, told.exit_code, str(told))
        except KeyboardInterrupt:
            # It may have come right before this was said above.
            interrupts.done()
            ctx.exit(130)
        except OSError as error:
            if error.errno not in _LOST_OUTPUT:
                raise
            ctx.exit(_lost_output(error))


def _postgres_errors() -> "tuple[type[psycopg.Error], ...]":
    """Return what the driver raises; nothing if no command has imported it. Asked only once something was raised."""
    if "psycopg" not in sys.modules:
        return ()
    import psycopg

    return (psycopg.Error,)


def _lost_output(error: OSError) -> int:
    """Stop writing output; return the exit code. A reader that has seen enough, such as `head`, is no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if error.errno == errno.EPIPE:
        return _CLOSED_PIPE
    click.echo(f"{click.style('error:', fg='red')} the output could not be written: {error.strerror}", err=True)
    return Exit.FAULT


def _fail(ctx: click.Context, code: int, text: str) -> None:
    for line in text.splitlines():
        click.echo(f"{click.style('error:', fg='red')} {printable(line)}", err=True)
    ctx.exit(code)
