"""What all commands share: the settings, from a file and from flags, and the form of what is printed."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate

import click

from relay.config.flags import FLAGS

if TYPE_CHECKING:
    from relay.config.settings import Settings

_HELP = {
    "--dsn-file": ("FILE", "Holds the address of PostgreSQL."),
    "--table": ("NAME", "The table of events, or schema.table."),
    "--server": ("URL", "A NATS server; may be given several times."),
    "--creds-file": ("FILE", "NATS credentials."),
    "--http-port": ("PORT", "Where metrics and probes are served; 0 takes a free one."),
    "--console-port": ("PORT", "Where the console is served; 0 takes a free one."),
    "--log-format": ("FORMAT", "auto, json or human."),
    "--log-level": ("LEVEL", "debug, info, warning or error."),
}
# What a shell offers behind a flag, beside the names of files.
_VALUES = {"--log-format": ("auto", "json", "human"), "--log-level": ("debug", "info", "warning", "error")}
_SEVERAL = ("--server",)


# The flag of every command that prints rows.
table_or_json = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@dataclass(frozen=True)
class Sources:
    """Where the settings of one command come from, beside the environment.

    Attributes:
        config: A TOML file.
        flags: What the flags say, by dotted names such as ``nats.servers``; None if one was not given.
    """

    config: Path | None
    flags: Mapping[str, object]

    def load(self) -> "Settings":
        """Read the settings.

        Raises:
            ConfigError: Something is wrong; it holds every fault.
        """
        from relay.config.settings import load

        return load(self.config, self.flags)


def with_settings(
    *flags: str,
    stand_for: Mapping[str, str] = FLAGS,
) -> "Callable[[Callable[Concatenate[Settings, ...], None]], Callable[..., None]]":
    """Add ``--config`` and flags that stand for settings to a command; it is called with the settings first.

    Args:
        stand_for: Which setting each flag stands for.
    """

    def decorate(command: "Callable[Concatenate[Settings, ...], None]") -> Callable[..., None]:
        @with_sources(*flags, stand_for=stand_for)
        @functools.wraps(command)
        def wrapped(sources: Sources, /, **params: Any) -> None:
            command(sources.load(), **params)

        return wrapped

    return decorate


def with_sources(
    *flags: str,
    stand_for: Mapping[str, str] = FLAGS,
) -> Callable[[Callable[Concatenate[Sources, ...], None]], Callable[..., None]]:
    """Add ``--config`` and flags that stand for settings to a command, which reads them itself if it needs them."""

    def decorate(command: Callable[Concatenate[Sources, ...], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapped(config: Path | None, **params: Any) -> None:
            given = {stand_for[flag]: params.pop(_param(flag)) for flag in flags}
            command(Sources(config, given), **params)

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
