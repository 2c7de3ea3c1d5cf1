"""What a projection is: a name, the events it takes, its tables, and what each event does to them."""

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from relay.errors import ConfigError
from relay.projection.never_asked import faults_of_upcasters, never_asked
from relay.projection.rules.grouping import Mode
from relay.projection.rules.incoming import Incoming
from relay.projection.rules.refreshing import Refresh
from relay.projection.sql_text import ends_transaction
from relay.rules.stream.subjects import matches, overlap

OnRefused = Literal["park", "stop", "skip"]
StoreKind = Literal["postgres", "redis"]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_TAKEN = frozenset({"projection", "public", "information_schema"})
_STREAM = re.compile(r"[!-)+\-/-=?-\[\]-~]+")  # what NATS takes as a name: no dot, wildcard, space or backslash
_PATTERN = re.compile(r"[!-~]+")
_MAX_PARTITIONS = 64

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Handler:
    """What applies the events of a topic: a statement of SQL, or a function.

    Attributes:
        topic: A subject, or a pattern with ``*`` and ``>``.
        version: Of the payload's form; None takes every version, also one that nobody has thought of yet.
        mode: How many events it gets at once.
        sql: The whole statement, ready to be sent (`relay.projection.sql_text`).
        function: Called with the transaction and the event; with several events if `mode` is ``fold``.
        lua: The body of a function of ``e``, ``read`` and ``write``, for a model in Redis.
    """

    topic: str
    version: int | None
    mode: Mode
    sql: bytes | None = None
    function: Callable[..., Awaitable[object]] | None = None
    lua: str | None = None

    def fits(self, *, in_redis: bool) -> bool:
        """Report whether it says what to do in the store where the model is, and nothing else."""
        in_postgres = (self.sql is not None) + (self.function is not None)
        return (self.lua is not None and bool(self.lua.strip())) == in_redis and in_postgres == (not in_redis)

    @property
    def takes_many(self) -> bool:
        """Whether one statement applies many events."""
        return self.sql is not None and self.mode is not Mode.EACH


@dataclass(frozen=True)
class Definition:
    """A projection, checked.

    Attributes:
        name: Also the schema of its tables.
        stream: The stream it reads.
        subjects: Patterns of the subjects it reads there.
        version: Of its tables; another one needs other tables.
        tables: SQL that makes them, run once in their schema.
        handlers: The first one that fits an event applies it.
        upcasters: What brings a payload of a topic from one version to the next.
        partitions: In how many parts the keys are cut, each applied by itself.
        on_refused: What becomes of an event that can never be applied.
        partial: Whether it may begin though the stream no longer holds its beginning.
        store: Where its model is kept.
        refreshes: Its materialised views, each with its schedule.
        source: The file or the class that it was read from; empty if it was made by hand.

    Raises:
        ConfigError: Something is wrong; it holds every fault.
    """

    name: str
    stream: str
    subjects: tuple[str, ...]
    version: int
    tables: str
    handlers: tuple[Handler, ...]
    upcasters: Mapping[tuple[str, int], Callable[[Any], Any]] = field(default_factory=dict)
    partitions: int = 1
    on_refused: OnRefused = "park"
    partial: bool = False
    store: StoreKind = "postgres"
    refreshes: tuple[Refresh, ...] = ()
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        faults = []
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN or self.name.startswith("pg_"):
            faults.append("name: must be a plain lower-case name that is not taken, since a schema is named after it")
        if not _STREAM.fullmatch(self.stream):
            faults.append(f"stream: {self.stream!r} is no name of a stream")
        faults += [
            f"subject {one!r}: is no NATS subject pattern, such as orders.* or orders.>"
            for one in (*self.subjects, *(handler.topic for handler in self.handlers))
            if not _PATTERN.fullmatch(one) or "" in one.split(".") or ">" in one.split(".")[:-1]
        ]
        if not self.subjects:
            faults.append("subjects: must name at least one")
        faults += [
            f"subjects: {one} and {other} overlap, and NATS reads none that do: leave out the narrower one"
            for at, one in enumerate(self.subjects)
            for other in self.subjects[at + 1 :]
            if overlap(one, other)
        ]
        faults += [
            f"on: {topic} is on none of the subjects {', '.join(self.subjects)}: nothing of it would be applied"
            for topic in dict.fromkeys(handler.topic for handler in self.handlers)
            if self.subjects and not any(overlap(topic, one) for one in self.subjects)
        ]
        faults += [f"on: {one}" for one in never_asked(self.handlers)]
        faults += faults_of_upcasters(self.upcasters, self.handlers)
        if not self.handlers:
            faults.append("on: there is nothing that it does")
        if self.version < 1:
            faults.append("version: must be 1 or more")
        if not 1 <= self.partitions <= _MAX_PARTITIONS:
            faults.append(f"partitions: must be 1 to {_MAX_PARTITIONS}")
        if self.on_refused not in ("park", "stop", "skip"):
            faults.append("on_refused: must be park, stop or skip")
        in_redis = self.store == "redis"
        faults += [
            f"on: {handler.topic}: needs "
            + ("lua, and no sql, since the store is redis" if in_redis else "sql, and no lua")
            for handler in self.handlers
            if not handler.fits(in_redis=in_redis)
        ]
        ends = ends_transaction(self.tables)
        if ends is not None:
            faults.append(f"tables: hold {ends}: they are made in one transaction, which is not theirs to end")
        if in_redis and self.tables.strip():
            faults.append("tables: Redis has none")
        if in_redis and self.refreshes:
            faults.append("refresh: Redis has no materialised views")
        views = [one.view for one in self.refreshes]
        faults += [f"refresh: {one.fault}" for one in self.refreshes if one.fault is not None]
        faults += [f"refresh: view {view} is named twice" for view in sorted({v for v in views if views.count(v) > 1})]
        if faults:
            raise ConfigError(self.located(faults))

    def located(self, faults: Iterable[str]) -> list[str]:
        """Put before each fault where it is: the file or class, and the projection."""
        place = f"projection {self.name}" if not self.source else f"{self.source}: projection {self.name}"
        return [f"{place}: {fault}" for fault in faults]

    @property
    def fingerprint(self) -> str:
        """A digest of what decides the contents of the tables, as far as it is text."""
        parts = [self.stream, *self.subjects, self.tables]
        parts += [f"{one.topic}/{one.version}/{one.mode}/{one.lua or one.sql!r}" for one in self.handlers]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def faults_against(self, version: int, partitions: int, stream: str) -> list[str]:
        """Return why a model that is there cannot be kept by this definition; empty if it can.

        Args:
            version: Of the model that is there.
            partitions: In how many parts its keys are cut.
            stream: Which one its positions are counted in.
        """
        faults = []
        if version != self.version:
            faults.append(f"version: its model is of version {version}, and a rebuild is not offered yet")
        if partitions != self.partitions:
            faults.append(f"partitions: its keys are cut into {partitions}, which only another version may change")
        if stream != self.stream:
            faults.append(
                f"stream: its model is of {stream}: another stream needs another name, or this model built again"
            )
        return faults

    def version_of(self, event: Incoming) -> int:
        """Return the version that an event's payload has once it was brought up to date."""
        version = event.version
        while (event.topic, version) in self.upcasters:
            version += 1
        return version

    def by_topic(self, topics: Iterable[str], version: int | None = None) -> dict[str, Handler]:
        """Return what applies every event of a topic, if it is the same for all of them.

        Args:
            version: What all of them have; None: they may have any.
        """
        versions = (None,) if version is None or self.upcasters else (None, version)
        found = {}
        for topic in topics:
            fit = (one for one in self.handlers if one.topic == topic or matches(one.topic, topic))
            first = next((one for one in fit if len(versions) == 1 or one.version in versions), None)
            if first is not None and first.version in versions:
                found[topic] = first
        return found

    def one_handler(self, topics: Iterable[str], version: int | None) -> Handler | None:
        """Return what applies every event of some topics, if it is one for all of them; `version` as in `by_topic`."""
        asked = set(topics)
        found = list(self.by_topic(asked, version).values())
        return found[0] if len(found) == len(asked) > 0 and all(one is found[0] for one in found) else None

    def handler_to_retry(self, event: Incoming) -> tuple[Handler | None, str | None]:
        """Return what applies an event that is parked, and why it cannot be applied; without a handler it cannot."""
        handler, fault = self.handler_of(event)
        return handler, f"nothing is defined for {event.topic} any more" if handler is None else fault

    def handler_of(self, event: Incoming) -> tuple[Handler | None, str | None]:
        """Return what applies an event: None if it is none of ours; and why it cannot be applied, None if it can."""
        topic = event.topic
        first = None
        version = 0
        for handler in self.handlers:
            # Most patterns are plain subjects, and this is asked for each event.
            if handler.topic != topic and not matches(handler.topic, topic):
                continue
            if handler.version is None:
                return handler, event.fault
            version = version or self.version_of(event)
            if handler.version == version:
                return handler, event.fault
            first = first or handler
        if first is None:
            return None, None
        return first, event.fault or f"nothing is defined for version {version} of {topic}"


def given_twice(definitions: Sequence[Definition]) -> list[str]:
    """Return the faults of projections that have the name of an earlier one: both would keep the same position."""
    first: dict[str, Definition] = {}
    faults = []
    for one in definitions:
        other = first.setdefault(one.name, one)
        if other is not one:
            faults += one.located([f"is given twice{f', first by {other.source}' if other.source else ''}"])
    return faults


class Projection:
    """A read model whose events are applied by Python: make a subclass, and give it to `run`.

    ::

        class Alarms(Projection):
            name, stream, subjects, version = "alarms", "TELEMETRY", ["telemetry.ingested"], 1
            tables = "CREATE TABLE alarms (device text PRIMARY KEY, count bigint NOT NULL)"

            @on("telemetry.ingested")
            async def ingested(self, tx: Transaction, event: Event) -> None:
                await tx.execute("INSERT INTO alarms VALUES ($1, 1) ...", [event.key])

    A handler writes to the database through the transaction, and does nothing else: it runs again if the
    transaction fails. One that raises refuses its event.

    Attributes:
        name: Also the schema of its tables.
        stream: The stream it reads.
        subjects: Patterns of the subjects it reads there.
        version: Of its tables; another one needs other tables.
        tables: SQL that makes them, run once in their schema.
        partitions: In how many parts the keys are cut, each applied by itself.
        on_refused: ``park``, ``stop`` or ``skip``.
        partial: Whether it may begin though the stream no longer holds its beginning.
        refreshes: Materialised views of its schema, refreshed on a schedule.
    """

    name: ClassVar[str] = ""
    stream: ClassVar[str] = ""
    subjects: ClassVar[Sequence[str]] = ()
    version: ClassVar[int] = 1
    tables: ClassVar[str] = ""
    partitions: ClassVar[int] = 1
    on_refused: ClassVar[OnRefused] = "park"
    partial: ClassVar[bool] = False
    refreshes: ClassVar[Sequence[Refresh]] = ()

    @classmethod
    def definition(cls) -> Definition:
        """Return what the class says, checked.

        Raises:
            ConfigError: Something is wrong; it holds every fault.
        """
        source = f"{cls.__module__}:{cls.__qualname__}"
        if isinstance(cls.subjects, str):
            raise ConfigError([f"{source}: projection {cls.name}: subjects must be a list, such as [{cls.subjects!r}]"])
        itself = cls()
        handlers: list[Handler] = []
        upcasters: dict[tuple[str, int], Callable[[Any], Any]] = {}
        for name, value in [pair for base in reversed(cls.__mro__) for pair in vars(base).items()]:
            marked = _marked(value)
            for topic, version, batch in getattr(marked, "__projection_on__", ()):
                if not inspect.iscoroutinefunction(getattr(itself, name)):
                    fault = f"{name} must be written with `async def`"
                    raise ConfigError([f"{source}: projection {cls.name}: {fault}"])
                mode = Mode.FOLD if batch else Mode.EACH
                handlers.append(Handler(topic, version, mode, function=getattr(itself, name)))
            for topic, version in getattr(marked, "__projection_upcast__", ()):
                upcasters[topic, version] = marked
        return Definition(
            name=cls.name,
            stream=cls.stream,
            subjects=tuple(cls.subjects),
            version=cls.version,
            tables=cls.tables,
            handlers=tuple(handlers),
            upcasters=upcasters,
            partitions=cls.partitions,
            on_refused=cls.on_refused,
            partial=cls.partial,
            refreshes=tuple(cls.refreshes),
            source=source,
        )


def _marked(value: Any) -> Any:
    """Return what carries the marks of a method: the function itself, also of a static method or one of the class."""
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def on(topic: str, *, version: int | None = None, batch: bool = False) -> Callable[[F], F]:
    """Mark a method of a `Projection` as what applies the events of a topic.

    Args:
        topic: A subject, or a pattern with ``*`` and ``>``.
        version: Of the payload's form, after `upcast`. None takes every version. Name version 1 from the start if the
            form may change: then an event of a version for which nothing is defined is parked.
        batch: Call it with a list of events instead of one: in the order of the stream, one key may come several times.
    """

    if not isinstance(topic, str):
        raise TypeError('on needs a topic: @on("orders.placed")')

    def mark(function: F) -> F:
        marks = [*getattr(_marked(function), "__projection_on__", ()), (topic, version, batch)]
        vars(_marked(function))["__projection_on__"] = marks
        return function

    return mark


def upcast(topic: str, *, from_version: int) -> Callable[[F], F]:
    """Mark a function of a `Projection` that brings a payload of a topic from a version to the next one.

    The function gets the payload, read as JSON, and returns the newer one; it takes no ``self``.

    Args:
        topic: The subject, without wildcards.
        from_version: The version that it takes.
    """

    def mark(function: F) -> F:
        marks = [*getattr(_marked(function), "__projection_upcast__", ()), (topic, from_version)]
        vars(_marked(function))["__projection_upcast__"] = marks
        return function

    return mark
