"""What all commands share: settings from flags, the connection, and how faults end a command."""

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate

import click
import psycopg

from relay.config.settings import FLAGS, Settings, load
from relay.errors import Exit, RelayError
from relay.operate.access import foreseen
from relay.text import printable

_HELP = {
    "--dsn-file": ("FILE", "Holds the address of PostgreSQL."),
    "--table": ("NAME", "The table of events, or schema.table."),
    "--server": ("URL", "A NATS server; may be given several times."),
    "--creds-file": ("FILE", "NATS credentials."),
    "--http-port": ("PORT", "Where metrics and probes are served; 0 takes a free one."),
    "--log-format": ("FORMAT", "auto, json or human."),
    "--log-level": ("LEVEL", "debug, info, warning or error."),
}
# What a shell offers behind a flag, beside the names of files.
_VALUES = {"--log-format": ("auto", "json", "human"), "--log-level": ("debug", "info", "warning", "error")}
_SEVERAL = ("--server",)
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
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if error.errno not in _LOST_OUTPUT:
                raise
            sys.exit(_lost_output(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except RelayError as error:
            _fail(ctx, error.exit_code, str(error))
        except psycopg.Error as error:
            told = foreseen(error)
            if told is None:
                raise
            _fail(ctx, told.exit_code, str(told))
        except KeyboardInterrupt:
            ctx.exit(130)
        except OSError as error:
            if error.errno not in _LOST_OUTPUT:
                raise
            ctx.exit(_lost_output(error))


def _lost_output(error: OSError) -> int:
    """Give standard output up; return the exit code. A reader that has seen enough, such as `head`, is no fault."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if error.errno == errno.EPIPE:
        return _CLOSED_PIPE
    click.echo(f"{click.style('error:', fg='red')} the output could not be written: {error.strerror}", err=True)
    return Exit.FAULT


def _fail(ctx: click.Context, code: int, text: str) -> None:
    for line in text.splitlines():
        click.echo(f"{click.style('error:', fg='red')} {printable(line)}", err=True)
    ctx.exit(code)


# The flag of every command that prints rows.
table_or_json = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


def with_settings(
    *flags: str,
) -> Callable[[Callable[Concatenate[Settings, ...], None]], Callable[..., None]]:
    """Give a command ``--config`` and flags that stand for settings; it is called with the settings first."""

    def decorate(command: Callable[Concatenate[Settings, ...], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(config: Path | None, **params: Any) -> None:
            overrides = {FLAGS[flag]: params.pop(_param(flag)) for flag in flags}
            command(load(config, overrides), **params)

        decorated: Callable[..., None] = wrapped
        for flag in reversed(flags):
            metavar, text = _HELP[flag]
            decorated = click.option(
                flag,
                metavar=metavar,
                multiple=flag in _SEVERAL,
                help=text,
                type=click.Path() if metavar == "FILE" else None,
                shell_complete=_offer(flag) if flag in _VALUES else None,
            )(decorated)
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="RELAY_CONFIG",
            metavar="FILE",
            help="Settings in TOML; the environment and flags go over it.  [env: RELAY_CONFIG]",
        )(decorated)

    return decorate


def _offer(flag: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Offer the values of a flag to the shell; whether one is right is for the settings to say."""

    def offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [value for value in _VALUES[flag] if value.startswith(incomplete)]

    return offered


def _param(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
