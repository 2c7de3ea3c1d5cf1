"""The settings, section by section: their defaults, their units, and what must hold for each alone.

An empty text stands for "not set". A list may be given as a text separated by commas.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from relay.credentials import file_in_words
from relay.errors import ConfigError
from relay.postgres.tables import DEFAULT_TABLE, Tables
from relay.rules.stream.subjects import subject_fault, template_fault

# With this much an atomic batch is refused by the server.
_MAX_ATOMIC_BATCH = 1000


_SERVER = re.compile(r"(nats|tls)://([^][/?#]*@)?(\[[^][/?#@\s]+\]|[^][/?#@:\s]+)(:[0-9]*)?/?", re.IGNORECASE)
_HOSTS = re.compile(r"([^:,]*(:\d*)?|\[[^]]*\](:\d*)?)(,([^:,]*(:\d*)?|\[[^]]*\](:\d*)?))*")


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _unset(value: object) -> object:
    return None if value == "" else value


def _encoded(value: SecretStr | None) -> SecretStr | None:
    """Refuse a URL whose password holds a bare @, / or ?: its rest would be taken for a host, and logged."""
    scheme, found, rest = ("" if value is None else value.get_secret_value()).partition("://")
    if found and scheme in ("postgres", "postgresql"):
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        cut_short = "@" in rest and "@" not in authority and not _HOSTS.fullmatch(authority)
        if cut_short or authority.count("@") > 1:
            raise ValueError("the password must be percent-encoded: %40 for @, %2F for /, %3F for ?")
    return value


def _pattern(value: str) -> str:
    tokens = value.split(".")
    if not re.fullmatch(r"[!-~]+", value) or "" in tokens or ">" in tokens[:-1]:
        raise ValueError(f"{value!r} is no NATS subject pattern, such as orders.* or orders.>")
    return value


def _subject(value: str) -> str:
    fault = subject_fault(value) if value else None
    if fault is not None:
        raise ValueError(fault)
    return value


def _subject_or_bucket(value: str) -> str:
    """Check a subject to publish on, or the place of a key in a bucket."""
    _subject(value.removeprefix("$KV."))
    if value.startswith("$KV.") and value.count(".") < 2:
        raise ValueError("a place in a bucket looks like $KV.bucket.key")
    return value


def _server(value: str) -> str:
    """Refuse what the driver would fail on, or what an unencoded / or # in a password makes of an address."""
    fault = "each server must look like nats://host:4222 or tls://host:4222"
    if "@" in value:
        fault += ", and a password be percent-encoded: %2F for /, %23 for #, %3F for ?"
    try:
        # Only urlsplit says what is wrong with an IPv6 address or a port that is too large.
        good = _SERVER.fullmatch(value) and urlsplit(value).port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(fault)
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one")
    return value


def _header(value: str) -> str:
    if not re.fullmatch(r"nats-[a-z0-9-]+", value, re.IGNORECASE):
        raise ValueError(f"{value!r} is no header that begins with Nats-")
    return value


def _readable(value: Path | None) -> Path | None:
    if value is not None:
        try:
            value.open("rb").close()
        except OSError as error:
            raise ValueError(f"cannot read {file_in_words(value)}: {error.strerror}") from None
    return value


Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Text = Annotated[str | None, BeforeValidator(_unset)]
Secret = Annotated[SecretStr | None, BeforeValidator(_unset)]
File = Annotated[Path | None, AfterValidator(_readable), BeforeValidator(_unset)]
Listed = (NoDecode, BeforeValidator(_split))
Patterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], *Listed]


class Section(BaseModel):
    """A section of the settings: frozen, no unknown names, and no value in the text of a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PostgresSection(Section):
    """Where the outbox is.

    Attributes:
        dsn: URL or ``name=value`` pairs; what it leaves out comes from libpq's own PGHOST, PGUSER and so on.
        bell_dsn: A direct way to the same database for the doorbell, if `dsn` leads through a pooler.
    """

    dsn: Annotated[SecretStr, AfterValidator(_encoded)] = SecretStr("")
    dsn_file: File = None
    bell_dsn: Annotated[Secret, AfterValidator(_encoded)] = None
    bell_dsn_file: File = None
    table: str = DEFAULT_TABLE
    connect_timeout_s: Seconds = 5.0
    statement_timeout_s: Seconds = 30.0

    @field_validator("table")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        try:
            Tables(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class NatsSection(Section):
    """Where the stream is, and who we are there: at most one of user, token, nkey and creds."""

    servers: Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], *Listed, AfterValidator(_some)] = Field(
        default=("nats://127.0.0.1:4222",), repr=False
    )
    name: str = "outbox-relay"
    user: Text = None
    password: Secret = None
    password_file: File = None
    token: Secret = None
    token_file: File = None
    nkey_seed_file: File = None
    creds_file: File = None
    tls_ca_file: File = None
    tls_cert_file: File = None
    tls_key_file: File = None
    tls_first: bool = False
    inbox_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")] = "_INBOX_relay"
    connect_timeout_s: Seconds = 3.0
    ping_interval_s: Annotated[int, Field(ge=1, le=3600)] = 2

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        ways = [
            name
            for name, value in (
                ("user", self.user),
                ("token", self.token),
                ("nkey_seed_file", self.nkey_seed_file),
                ("creds_file", self.creds_file),
            )
            if value is not None
        ]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} exclude each other")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        return self


class RedisSection(Section):
    """Where the read models of projections with ``store = "redis"`` are.

    Attributes:
        url: ``redis://``, ``rediss://`` or ``unix://``, with user, password and number of the database.
    """

    url: Secret = None
    url_file: File = None


class SubjectSection(Section):
    """Where an event is published.

    Attributes:
        template: May hold ``{topic}`` and ``{key}``.
        allow: Patterns; an event whose subject matches none becomes a dead letter. Empty: every subject.
    """

    template: str = "{topic}"
    allow: Patterns = ()

    @field_validator("template")
    @classmethod
    def _known_fields(cls, value: str) -> str:
        fault = template_fault(value)
        if fault is not None:
            raise ValueError(fault)
        return value


class HeadersSection(Section):
    """Which headers are added to those of the row, and which of its ``Nats-`` headers it may set."""

    key: bool = False
    seq: bool = False
    created_at: bool = False
    allow_nats: Annotated[tuple[Annotated[str, AfterValidator(_header)], ...], *Listed] = ()


class CloudEventsSection(Section):
    """Whether messages are CloudEvents: they are if `source` is given."""

    source: Annotated[str, Field(max_length=500, pattern=r"^[!-~]*$")] = ""
    type_prefix: Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")] = ""
    content_type: Annotated[str, Field(max_length=200, pattern=r"^[!-~]+/[!-~]+( ?; ?[!-~]+)*$")] = "application/json"


class DeliverySection(Section):
    """How events flow. Counts are events, buffer_bytes is bytes of payload, times are seconds."""

    ordering: Literal["key", "none"] = "key"
    strategy: Literal["auto", "singles", "atomic"] = "auto"
    fetch_batch: Count = 1000
    window: Count = 1000
    atomic_batch: Annotated[int, Field(ge=2, le=_MAX_ATOMIC_BATCH)] = 1000
    atomic_in_flight: Annotated[int, Field(ge=1, le=50)] = 3
    buffer_events: Count = 8000
    buffer_bytes: Annotated[int, Field(ge=1024 * 1024)] = 32 * 1024 * 1024
    held_events: Count = 10_000
    ack_timeout_s: Seconds = 5.0
    poll_max_s: Annotated[float, Field(ge=0.01, le=60, allow_inf_nan=False)] = 1.0
    objective_s: Seconds = 60.0
    bell: bool = True
    shutdown_timeout_s: Seconds = 10.0

    @model_validator(mode="after")
    def _fits_the_buffer(self) -> Self:
        for name, events in (
            ("fetch_batch", self.fetch_batch),
            ("window", self.window),
            ("atomic_batch * atomic_in_flight", self.atomic_batch * self.atomic_in_flight),
        ):
            if events > self.buffer_events:
                raise ValueError(f"{name} ({events}) must not be larger than buffer_events ({self.buffer_events})")
        return self


class FailuresSection(Section):
    """What becomes of an event that was refused. Times are seconds.

    Attributes:
        dead_subject: Dead letters are published there as well; empty: nowhere.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 10
    backoff_base_s: Seconds = 1.0
    backoff_max_s: Seconds = 300.0
    hold_base_s: Seconds = 0.5
    hold_max_s: Seconds = 15.0
    on_dead: Literal["skip", "block"] = "skip"
    on_misconfigured: Literal["hold", "dead"] = "hold"
    dead_subject: Annotated[str, AfterValidator(_subject)] = ""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.backoff_base_s > self.backoff_max_s:
            raise ValueError("backoff_base_s must not be larger than backoff_max_s")
        if self.hold_base_s > self.hold_max_s:
            raise ValueError("hold_base_s must not be larger than hold_max_s")
        return self


class LeaseSection(Section):
    """How relays share: the others take over the shards of one this many seconds after it was last heard of."""

    ttl_s: Annotated[float, Field(ge=2, le=3600, allow_inf_nan=False)] = 10.0


class StreamSection(Section):
    """The stream that is made or adjusted at start, if `manage` is true. Bytes and seconds."""

    manage: bool = False
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "OUTBOX"
    subjects: Annotated[Patterns, AfterValidator(_some)] = ("orders.>",)
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    duplicate_window_s: Seconds = 120.0
    max_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    max_bytes: Annotated[int, Field(ge=-1)] = -1
    allow_atomic: bool = True
    allow_direct: bool = True

    @model_validator(mode="after")
    def _window_within_age(self) -> Self:
        if 0 < self.max_age_s < self.duplicate_window_s:
            raise ValueError("duplicate_window_s must not be larger than max_age_s")
        return self


class HealingSection(Section):
    """What is done if a stream turns out to have lost what it had acknowledged. Times are seconds."""

    on_loss: Literal["redeliver", "alert"] = "redeliver"
    check_every_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 30.0


class RetentionSection(Section):
    """For how long rows are kept, in seconds; 0 is for ever."""

    delivered_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dead_age_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class WatermarkSection(Section):
    """Where the watermark is published; empty: nowhere."""

    subject: Annotated[str, AfterValidator(_subject_or_bucket)] = ""
    every_s: Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False)] = 1.0


class ConsumersSection(Section):
    """Which durable consumers of the streams are looked at, for the metrics; times are seconds."""

    watch: bool = True
    names: Annotated[tuple[str, ...], *Listed] = ()
    poll_every_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 15.0
    objective_s: Seconds = 300.0


class HttpSection(Section):
    """Metrics and probes; port 0 takes a free one."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 9464


class ProjectionHttpSection(HttpSection):
    """The same of ``relay projection run``, on a port of its own: both may run on one machine."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 9466


class LogSection(Section):
    """Logs go to stderr; ``auto`` is human on a terminal and JSON elsewhere."""

    format: Literal["auto", "json", "human"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
