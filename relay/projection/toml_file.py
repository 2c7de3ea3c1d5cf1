"""Read a projection from a file of TOML and SQL."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from relay.errors import ConfigError
from relay.projection.definition import Definition, Handler
from relay.projection.rules.grouping import Mode
from relay.projection.rules.refreshing import Refresh, read_every
from relay.projection.sql_text import statement


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return read_every(value if isinstance(value, str) else "")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)


class _On(_Table):
    """What events of a topic do.

    Attributes:
        topic: A subject, or a pattern with ``*`` and ``>``.
        version: Header ``Event-Version`` of the events it is for; left out: every version.
        mode: ``each`` event a statement, ``set``: no key twice in a statement, ``fold``: the statement aggregates.
        sql: Reads the events as rows of ``event``.
        lua: For a model in Redis, instead of `sql`: gets one event as ``e``, and calls ``read`` and ``write``.
    """

    topic: str
    version: Annotated[int, Field(ge=1)] | None = None
    mode: Literal["each", "set", "fold"] = "each"
    sql: str | None = None
    lua: str | None = None


class _Projection(_Table):
    name: str
    stream: str
    subjects: Annotated[list[str], BeforeValidator(_listed)]
    version: int = 1
    tables: str | None = None
    store: Literal["postgres", "redis"] = "postgres"
    partitions: int = 1
    on_refused: Literal["park", "stop", "skip"] = "park"
    partial: bool = False


class _Refresh(_Table):
    """A materialised view, and how often it is refreshed at most: ``30s``, ``5m``, ``1h`` or ``1d``."""

    view: str
    every: Annotated[float, BeforeValidator(_seconds)]
    always: bool = False


class _File(_Table):
    projection: _Projection
    on: list[_On]
    refresh: list[_Refresh] = []


def read_file(path: Path) -> Definition:
    """Read ``<name>.toml``; its setting ``tables`` names a file of SQL beside it.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; it holds every fault.
    """
    try:
        found = _File.model_validate(tomllib.loads(_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
    except ValidationError as error:
        raise ConfigError(
            [
                f"{path}: {'.'.join(str(part) for part in one['loc'])}: {one['msg'].replace('Input should', 'must')}"
                for one in error.errors(include_url=False, include_context=False, include_input=False)
            ]
        ) from None
    own = found.projection
    if own.store == "postgres" and own.tables is None:
        raise ConfigError([f"{path}: projection.tables: Field required"])
    return Definition(
        name=own.name,
        stream=own.stream,
        subjects=tuple(own.subjects),
        version=own.version,
        tables="" if own.tables is None else _text(path.parent / own.tables),
        handlers=tuple(_handler(one) for one in found.on),
        partitions=own.partitions,
        on_refused=own.on_refused,
        partial=own.partial,
        store=own.store,
        refreshes=tuple(Refresh(one.view, one.every, one.always) for one in found.refresh),
        source=str(path),
    )


def _handler(one: _On) -> Handler:
    sql = None if one.sql is None else statement(one.sql.strip().rstrip(";"))
    return Handler(one.topic, one.version, Mode(one.mode), sql=sql, lua=one.lua)


def read_paths(paths: list[Path]) -> list[Definition]:
    """Read files, and every ``*.toml`` of folders, by name.

    Raises:
        ConfigError: Something is wrong; it holds every fault of every file.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.toml")) if path.is_dir() else [path]
    found: list[Definition] = []
    faults: list[str] = []
    if not files:
        faults.append("there is no *.toml: " + ", ".join(str(path) for path in paths))
    for path in files:
        try:
            found.append(read_file(path))
        except ConfigError as error:
            faults += error.lines
    if faults:
        raise ConfigError(faults)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8"]) from None
