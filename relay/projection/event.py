"""What a handler gets: an event, and the transaction that it may write in."""

import inspect
import json
import math
import re
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import psycopg
from psycopg._queries import PostgresQuery

from relay.projection.outcome import Stopped
from relay.projection.rules.incoming import Incoming

# Comments, then a word that begins or ends a transaction. A savepoint is a handler's own affair.
_CONTROL = re.compile(
    r"(?:\s|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
    r"(begin|start\s+transaction|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)
# Rows that come and go beside the answers: the connection would wait for them for ever.
_COPY = re.compile(r"(?:\s|;|--[^\n]*(?:\n|$)|/\*.*?\*/)*copy\b.*\b(?:stdin|stdout)\b", re.IGNORECASE | re.DOTALL)
_EPOCH = datetime.fromtimestamp(0, UTC)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the outbox, as the stream brought it.

    Attributes:
        topic: The subject on which it came.
        data: The payload, read as JSON and brought to the newest version by `upcast`.
        key: Events of one key are applied in their order; None if it has none.
        seq: Its seq in the outbox; None if the relay does not send it.
        stream_seq: Its sequence in the stream.
        id: Its message id.
        at: When it was created; when the stream stored it if that is not known.
        version: Of `data`, 1 or more.
        headers: All headers of the message.
    """

    topic: str
    data: Any
    key: str | None = None
    seq: int | None = None
    stream_seq: int = 0
    id: str = ""
    at: datetime = _EPOCH
    version: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


class _OneStatement(psycopg.AsyncRawCursor[tuple[Any, ...]]):
    """Sends a statement in the form in which the server takes one alone: the second of several could be a COMMIT."""

    def _execute_send(self, query: PostgresQuery, *, force_extended: bool = True, binary: bool | None = None) -> None:
        """Send it, also without parameters, as one with parameters; the driver would else use the simple form."""
        super()._execute_send(query, force_extended=True, binary=binary)


class Transaction:
    """The transaction in which the position moves as well: a handler writes in it, and cannot end it.

    Statements have PostgreSQL's own placeholders, ``$1`` and on. Each call takes one statement, is a round trip, and
    must be awaited before the handler returns: an event whose handler forgets that is refused.

    Raises:
        Stopped: From each method: the statement would begin or end a transaction, or copy rows from or to the client.
            The projection stops.
    """

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn
        self._calls: list[tuple[Coroutine[Any, Any, Any], str, int]] = []
        self._failures: list[psycopg.Error | OSError] = []

    def execute(self, query: str, params: Sequence[object] = ()) -> Coroutine[Any, Any, int]:
        """Run a statement; return how many rows it touched.

        Raises:
            psycopg.Error: It was refused. Let it pass: the event is parked, or tried again, by the kind of the error.
        """
        return self._noted(self._execute(query, params), inspect.currentframe())

    def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> Coroutine[Any, Any, None]:
        """Run a statement once for each row of parameters, in one round trip.

        Raises:
            psycopg.Error: One was refused.
        """
        return self._noted(self._executemany(query, rows), inspect.currentframe())

    def fetch(self, query: str, params: Sequence[object] = ()) -> Coroutine[Any, Any, list[tuple[Any, ...]]]:
        """Run a query; return its rows.

        Raises:
            psycopg.Error: It was refused.
        """
        return self._noted(self._fetch(query, params), inspect.currentframe())

    def failure_behind(self, error: BaseException) -> psycopg.Error | OSError | None:
        """Return the failure of a statement that an error of a handler is, or came from; None: it is its own."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            for failure in self._failures:
                if failure is one:
                    return failure
            waiting += [one.__context__, one.__cause__]
        return None

    def end(self) -> str | None:
        """Take note that the handler has ended; return the place of a statement that it has not awaited, None if none.

        A coroutine that nobody awaits does nothing, and says so to nobody.
        """
        found = None
        for call, file, line in self._calls:
            state = inspect.getcoroutinestate(call)
            if state != inspect.CORO_CLOSED and found is None:
                found = f"{Path(file).name}:{line}"
            if state == inspect.CORO_CREATED:
                call.close()
        self._calls.clear()
        # What a failure was raised in has this object: both would live on with the event until the collector comes.
        self._failures.clear()
        return found

    def _noted(self, call: Coroutine[Any, Any, T], ours: FrameType | None) -> Coroutine[Any, Any, T]:
        """Remember a call and the line of the handler that it was made in; `ours` is the frame of the method."""
        caller = None if ours is None else ours.f_back
        place = ("a handler", 0) if caller is None else (caller.f_code.co_filename, caller.f_lineno)
        self._calls.append((call, *place))
        return call

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Remember what a statement raises: the same from anywhere else would be no fault of the database."""
        try:
            yield
        except (psycopg.Error, OSError) as error:
            self._failures.append(error)
            raise

    async def _execute(self, query: str, params: Sequence[object]) -> int:
        _check(query)
        with self._failing():
            cursor = _OneStatement(self._conn)
            await cursor.execute(query.encode(), params or None)
            return cursor.rowcount

    async def _executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        _check(query)
        made = list(rows)  # what is raised while they are made is the handler's own
        with self._failing():
            await _OneStatement(self._conn).executemany(query.encode(), made)

    async def _fetch(self, query: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        _check(query)
        with self._failing():
            cursor = _OneStatement(self._conn)
            await cursor.execute(query.encode(), params or None)
            return await cursor.fetchall()


def _check(query: str) -> None:
    found = _CONTROL.match(query)
    if found is not None:
        raise Stopped(f"a handler has sent {found[1].upper()}: the transaction that it was given is not its own to end")
    if _COPY.match(query) is not None:
        raise Stopped("a handler has sent COPY: rows go by execute and executemany, and come by fetch")


def event_of(incoming: Incoming, data: object, version: int) -> Event:
    """Make the event that a handler gets."""
    return Event(
        topic=incoming.topic,
        data=data,
        key=incoming.key,
        seq=incoming.seq,
        stream_seq=incoming.stream_seq,
        id=incoming.id,
        at=datetime.fromisoformat(incoming.at),
        version=version,
        headers=incoming.headers,
    )


def read_json(incoming: Incoming) -> Any:
    """Read the payload of an event.

    Raises:
        ValueError: It is no JSON, or has a number that is larger than any float. NaN and Infinity are no JSON, as in
            PostgreSQL.
        RecursionError: It is nested too deeply.
    """
    return _DECODER.decode(incoming.text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number is larger than any float")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
