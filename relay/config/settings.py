"""What can be configured, and where it comes from.

A flag goes over the environment (``RELAY_NATS__SERVERS``), that over the file (``[nats] servers``). A secret
may also come from a file, by the setting of the same name with ``_file``. All faults are reported at once, a
line each, with their place.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from relay.config.console_section import ConsoleSection
from relay.config.flags import FLAGS, PROJECTION_FLAGS
from relay.config.sections import (
    CloudEventsSection,
    ConsumersSection,
    DeliverySection,
    FailuresSection,
    HeadersSection,
    HealingSection,
    HttpSection,
    LeaseSection,
    LogSection,
    NatsSection,
    PostgresSection,
    ProjectionHttpSection,
    RedisSection,
    RetentionSection,
    StreamSection,
    SubjectSection,
    WatermarkSection,
)
from relay.credentials import file_in_words
from relay.errors import ConfigError

_PREFIX = "RELAY_"
_SECRETS = {"postgres": ("dsn", "bell_dsn"), "nats": ("password", "token"), "redis": ("url",)}
# Ours without being settings: the path of the file, and the servers of the test suite.
_NO_SETTING = re.compile(r"RELAY_(CONFIG|TEST_\w+)")
# Kubernetes puts these into every pod beside a service whose name begins with "relay".
_SERVICE_LINK = re.compile(r"RELAY_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)")
_SERVICE_LINK_PORT = re.compile(r"RELAY_(\w+_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


class Settings(BaseSettings):
    """All that can be configured. `load` makes it; the constructor reads neither environment nor file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, env_prefix=_PREFIX, env_nested_delimiter="__"
    )

    postgres: PostgresSection = PostgresSection()
    nats: NatsSection = NatsSection()
    redis: RedisSection = RedisSection()
    subject: SubjectSection = SubjectSection()
    headers: HeadersSection = HeadersSection()
    cloudevents: CloudEventsSection = CloudEventsSection()
    delivery: DeliverySection = DeliverySection()
    failures: FailuresSection = FailuresSection()
    lease: LeaseSection = LeaseSection()
    stream: StreamSection = StreamSection()
    healing: HealingSection = HealingSection()
    retention: RetentionSection = RetentionSection()
    watermark: WatermarkSection = WatermarkSection()
    consumers: ConsumersSection = ConsumersSection()
    http: HttpSection = HttpSection()
    console: ConsoleSection = ConsoleSection()
    projection_http: ProjectionHttpSection = ProjectionHttpSection()
    log: LogSection = LogSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is handed in: `load` merges the sources, since it must know what came from where."""
        return (init_settings,)

    @model_validator(mode="after")
    def _acknowledged_within_the_window(self) -> Self:
        if self.stream.manage and self.delivery.ack_timeout_s >= self.stream.duplicate_window_s:
            raise ValueError(
                "[delivery] ack_timeout_s must be smaller than [stream] duplicate_window_s: "
                "what is sent again after the window would be stored twice"
            )
        return self


@dataclass
class _Source:
    """One place that settings come from.

    Attributes:
        name: What a fault calls it.
        values: Section to setting to value, as far as this source says.
    """

    name: str
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def has(self, path: Sequence[str]) -> bool:
        """Report whether this source says anything about a section, or a setting of it."""
        section = self.values.get(path[0])
        return section is not None and (len(path) == 1 or path[1] in section)

    def place(self, path: Sequence[str]) -> str:
        """Name a setting as it is written there."""
        match self.name:
            case "flag":
                dotted = ".".join(path)
                known = {setting: flag for flag, setting in (*PROJECTION_FLAGS.items(), *FLAGS.items())}
                return "flag " + known.get(dotted, dotted)
            case "environment":
                return f"environment {_PREFIX}{'__'.join(path).upper()}"
            case _:
                return " ".join([self.name, f"[{path[0]}]", *path[1:]])


def load(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings.

    Args:
        config: A TOML file; none: only flags and environment.
        overrides: What the flags say, by dotted names such as ``nats.servers``; None values are passed over.
        environ: The environment; the process's own if it is None.

    Raises:
        ConfigError: Something is wrong; it holds every fault.
    """
    environ = os.environ if environ is None else environ
    faults: list[str] = []
    sources = [
        _from_flags(overrides or {}),
        _from_environment(environ, faults),
        _from_file(config, faults),
    ]
    for source in sources:
        _read_secret_files(source, faults)
    try:
        settings = Settings.model_validate(_merge(sources))
    except ValidationError as error:
        faults += [_line(details, sources) for details in error.errors(include_url=False, include_context=False)]
    else:
        if not faults:
            return settings
    raise ConfigError(list(dict.fromkeys(faults)))


def _from_flags(overrides: Mapping[str, object]) -> _Source:
    source = _Source("flag")
    for dotted, value in overrides.items():
        if value is not None and value != ():
            section, name = dotted.split(".")
            source.values.setdefault(section, {})[name] = value
    return source


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> _Source:
    known = {f"{_PREFIX}{section}__{name}".upper(): (section, name) for section, names in _names() for name in names}
    ours: dict[str, str | None] = {}
    for variable, value in environ.items():
        upper = variable.upper()
        if upper in known:
            # A line end comes along if a secret was read from a file.
            ours[upper.lower()] = value.rstrip("\r\n")
        elif upper.startswith(_PREFIX) and not _foreign(upper, value):
            faults.append(f"environment {variable}: {_unknown(upper, known)}")
    reader = EnvSettingsSource(Settings)
    reader.env_vars = ours
    return _Source("environment", reader())


def _unknown(variable: str, known: Mapping[str, tuple[str, str]]) -> str:
    """Return what is wrong with a variable that names no setting: its section, if there is none of that name."""
    section, parted, name = variable.removeprefix(_PREFIX.upper()).partition("__")
    sections = {one.upper(): names for one, names in _names()}
    if not parted or section in sections:
        return f"unknown setting{_hint(variable, known)}"
    near = get_close_matches(section, list(sections), n=1, cutoff=0.7)
    if not near:
        return f"unknown section {section}"
    meant = f"{_PREFIX}{near[0]}__{name}".upper()
    return f"unknown section {section}; did you mean {meant if meant in known else near[0]}?"


def _foreign(variable: str, value: str) -> bool:
    """Report whether a variable only looks like ours."""
    if _NO_SETTING.fullmatch(variable) or _SERVICE_LINK.fullmatch(variable):
        return True
    return bool(_SERVICE_LINK_PORT.fullmatch(variable)) and (
        value.startswith(("tcp://", "udp://", "sctp://")) or not variable.endswith("_PORT")
    )


def _from_file(config: Path | None, faults: list[str]) -> _Source:
    if config is None:
        return _Source("file")
    source = _Source(config.name)
    try:
        values = tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        faults.append(f"{config}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        faults.append(f"{config}: is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{config}: is not TOML: {error}")
    else:
        sections = dict(_names())
        for section, names in values.items():
            if section not in sections:
                faults.append(f"{config.name} [{section}]: unknown section{_hint(section, sections)}")
            elif not isinstance(names, dict):
                faults.append(f"{config.name} {section}: must be a section, written [{section}]")
            else:
                source.values[section] = names
    return source


def _names() -> Iterable[tuple[str, list[str]]]:
    """Return the sections and the names of their settings."""
    for section, info in Settings.model_fields.items():
        yield section, list(type(info.default).model_fields)


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _read_secret_files(source: _Source, faults: list[str]) -> None:
    """Put in the secrets that a source gives by the name of a file; a last line end is no part of them."""
    for section in _SECRETS:
        values = source.values.get(section, {})
        for secret in _SECRETS[section]:
            name = f"{secret}_file"
            path = values.get(name)
            if not path:
                continue
            place = source.place((section, name))
            if values.get(secret):
                faults.append(f"{place}: {secret} is set as well; only one of the two can hold")
                continue
            try:
                text = Path(str(path)).read_text("utf-8").removesuffix("\n").removesuffix("\r")
            except OSError as error:
                faults.append(f"{place}: cannot read {file_in_words(Path(str(path)))}: {error.strerror}")
            except UnicodeDecodeError:
                faults.append(f"{place}: {path} is not UTF-8")
            else:
                if not text:
                    faults.append(f"{place}: {path} is empty")
                values[secret] = text
                continue
            del values[name]


def _merge(sources: Sequence[_Source]) -> dict[str, dict[str, Any]]:
    """Lay the sources over each other, the first on top. A secret takes its file's name along, or away."""
    merged: dict[str, dict[str, Any]] = {}
    for source in reversed(sources):
        for section, values in source.values.items():
            below = merged.setdefault(section, {})
            for secret in _SECRETS.get(section, ()):
                if secret in values:
                    below.pop(f"{secret}_file", None)
            below.update(values)
    return merged


def _line(details: ErrorDetails, sources: Sequence[_Source]) -> str:
    """Write one fault in one line, with its place."""
    path = [str(part) for part in details["loc"][:2]]
    if not path:
        return details["msg"].removeprefix("Value error, ")
    source = next((source for source in sources if source.has(path)), None)
    place = source.place(path) if source else f"default [{path[0]}] {' '.join(path[1:])}".rstrip()
    if details["type"] == "extra_forbidden":
        return f"{place}: unknown setting{_hint(path[-1], dict(_names())[path[0]])}"
    text = details["msg"].removeprefix("Value error, ")
    text = text.replace("Input should be", "must be").replace("String should", "must")
    given = details["input"]
    plain = len(path) == 2 and path[1] not in _SECRETS.get(path[0], ()) and path[1] != "servers"
    plain = plain and not path[1].endswith("_file")
    shown = f" (not {given!r})" if plain and isinstance(given, str | int | float) else ""
    return f"{place}: {text}{shown}"
