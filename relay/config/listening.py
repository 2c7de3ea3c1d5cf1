"""Where the relay of a configuration listens, read without the rest of the settings.

The container's health check asks each half minute: it must not pay for the checks of every setting, nor depend on what
only the daemon may read, such as the file of a password.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Listening(NamedTuple):
    """What `[http]` says, or `[projection_http]`; the defaults are those of the first."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 9464


RELAY = "http"
PROJECTIONS = "projection_http"
_DEFAULTS = {RELAY: Listening(), PROJECTIONS: Listening(port=9466)}


def listening(
    config: Path | None,
    flags: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    *,
    section: str = RELAY,
) -> Listening | None:
    """Return where the relay listens; None if that takes the whole settings, or they have a fault.

    Args:
        config: A TOML file.
        flags: What the flags say, by dotted names; None if one was not given.
        environ: The environment; the process's own if it is not given.
        section: Of the settings: of a relay, or of a runner of projections.
    """
    prefix = f"RELAY_{section.upper()}__"
    environ = os.environ if environ is None else environ
    said = _from_file(config, section)
    if said is None:
        return None
    written: dict[str, object] = {}
    for variable, value in environ.items():
        if variable.upper().startswith(prefix):
            written[variable.upper().removeprefix(prefix).lower()] = value.rstrip("\r\n")
    written |= {
        name.removeprefix(f"{section}."): value
        for name, value in flags.items()
        if name.startswith(f"{section}.") and value is not None
    }
    return _checked(said | {name: _parsed(name, value) for name, value in written.items()}, _DEFAULTS[section])


def _from_file(config: Path | None, section: str) -> dict[str, object] | None:
    if config is None:
        return {}
    try:
        found = tomllib.loads(config.read_text("utf-8")).get(section, {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _parsed(name: str, value: object) -> object:
    """Return a text as the type of its setting, if it is written in the usual way."""
    if name == "port" and isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 5:
        return int(value)
    if name == "enabled" and value in ("true", "false"):
        return value == "true"
    return value


def _checked(said: Mapping[str, object], default: Listening) -> Listening | None:
    if said.keys() - set(Listening._fields):
        return None
    enabled, host, port = (said.get(name, value) for name, value in default._asdict().items())
    if type(enabled) is not bool or type(host) is not str or type(port) is not int or not 0 <= port <= 65_535:
        return None
    return Listening(enabled, host, port)
