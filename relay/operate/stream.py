"""Make, look at and change streams, for an operator without NATS's own tools."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.errors import RelayError
from relay.jetstream.connection import Connection
from relay.jetstream.errors import NO_SUCH_STREAM, in_words
from relay.jetstream.managed_stream import NEW_STREAM, ManagedStream
from relay.operate.broker import broker

if TYPE_CHECKING:
    from relay.config.settings import Settings

_ANSWER_S = 5.0
# A page of STREAM.LIST holds at most 256.
_MOST_PAGES = 40
_NANOSECONDS = 1e9
_SWITCHES = ("allow_atomic", "allow_direct", "no_ack")


class Unchanged(RelayError):
    """JetStream refused, or the stream is not what the command needs. Nothing was changed."""


class StreamFigures(NamedTuple):
    """A stream, as the server describes it.

    Attributes:
        max_age_s: Seconds; 0 keeps messages for ever.
        max_bytes: -1 sets no limit; likewise `max_msgs`, and `max_msg_size` in bytes of one message.
        discard: ``new`` refuses messages when it is full, ``old`` lets the oldest go.
    """

    name: str
    subjects: tuple[str, ...]
    storage: str
    retention: str
    discard: str
    replicas: int
    duplicate_window_s: float
    max_age_s: float
    max_bytes: int
    max_msgs: int
    max_msg_size: int
    allow_atomic: bool
    allow_direct: bool
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    consumers: int


class Change(NamedTuple):
    """A field that an edit changes, in JetStream's own terms."""

    field: str
    old: Any
    new: Any


async def create(settings: "Settings", plan: ManagedStream) -> None:
    """Make a stream: on disk, and refusing new messages when it is full instead of letting old ones go.

    Raises:
        Unchanged: There is one of this name, another one takes a subject, or JetStream refuses.
        Unreachable: NATS does not answer. Whether it was made is not known.
    """
    async with broker(settings) as connection:
        answer = await connection.request(f"STREAM.INFO.{plan.name}", None, _ANSWER_S)
        if "error" not in answer:
            raise Unchanged(f"stream {plan.name} exists already: relay stream edit changes it")
        if answer["error"].get("err_code") != NO_SUCH_STREAM:
            raise _refused(plan.name, answer)
        config = {**NEW_STREAM, **plan.config(takes_atomic=connection.takes_atomic)}
        answer = await connection.request(f"STREAM.CREATE.{plan.name}", config, _ANSWER_S)
    if "error" in answer:
        raise _refused(plan.name, answer)


async def show(settings: "Settings", name: str | None) -> list[StreamFigures]:
    """Return one stream, or all by name.

    Raises:
        Unchanged: There is no such stream, or JetStream refuses to show it.
        Unreachable: NATS does not answer.
    """
    async with broker(settings) as connection:
        if name is not None:
            return [_figures(await _info(connection, name))]
        found: list[StreamFigures] = []
        for _ in range(_MOST_PAGES):
            answer = await connection.request("STREAM.LIST", {"offset": len(found)}, _ANSWER_S)
            if "error" in answer:
                raise _refused("list", answer)
            streams = answer.get("streams") or []
            found += map(_figures, streams)
            if not streams or len(found) >= answer["total"]:
                break
        return sorted(found, key=lambda one: one.name)


async def changes(settings: "Settings", name: str, wanted: Mapping[str, Any]) -> Sequence[Change]:
    """Return what an edit would change; empty if the stream needs no change.

    Args:
        wanted: Fields of the stream's configuration, in JetStream's own terms.

    Raises:
        Unchanged: There is no such stream.
        Unreachable: NATS does not answer.
    """
    async with broker(settings) as connection:
        current = (await _info(connection, name))["config"]
    found = [Change(field, _value(current, field), new) for field, new in wanted.items()]
    return [one for one in found if one.old != one.new]


async def edit(settings: "Settings", name: str, agreed: Sequence[Change]) -> None:
    """Make changes that were agreed on, and leave alone every other field.

    Raises:
        Unchanged: A field has another value than it had when the change was agreed, or JetStream refuses.
        Unreachable: NATS does not answer. Whether it was changed is not known.
    """
    async with broker(settings) as connection:
        current = (await _info(connection, name))["config"]
        moved = [one.field for one in agreed if _value(current, one.field) != one.old]
        if moved:
            raise Unchanged(f"stream {name} was changed meanwhile ({', '.join(moved)}): look again")
        config = {**current, **{one.field: one.new for one in agreed}}
        answer = await connection.request(f"STREAM.UPDATE.{name}", config, _ANSWER_S)
    if "error" in answer:
        raise _refused(name, answer)


def _value(config: Mapping[str, Any], field: str) -> Any:
    """Return a field of a stream's configuration; what is switched off is left out there."""
    return config.get(field, False if field in _SWITCHES else None)


async def _info(connection: Connection, name: str) -> dict[str, Any]:
    answer = await connection.request(f"STREAM.INFO.{name}", None, _ANSWER_S)
    if answer.get("error", {}).get("err_code") == NO_SUCH_STREAM:
        raise Unchanged(f"there is no stream {name}: relay stream create makes one")
    if "error" in answer:
        raise _refused(name, answer)
    return answer


def _refused(name: str, answer: Mapping[str, Any]) -> Unchanged:
    return Unchanged(f"stream {name}: {in_words(answer['error'])}")


def _figures(info: Mapping[str, Any]) -> StreamFigures:
    config, state = info["config"], info["state"]
    return StreamFigures(
        name=config["name"],
        subjects=tuple(config.get("subjects") or ()),
        storage=config["storage"],
        retention=config["retention"],
        discard=config["discard"],
        replicas=config["num_replicas"],
        duplicate_window_s=config.get("duplicate_window", 0) / _NANOSECONDS,
        max_age_s=config.get("max_age", 0) / _NANOSECONDS,
        max_bytes=config.get("max_bytes", -1),
        max_msgs=config.get("max_msgs", -1),
        max_msg_size=config.get("max_msg_size", -1),
        allow_atomic=bool(config.get("allow_atomic")),
        allow_direct=bool(config.get("allow_direct")),
        messages=state["messages"],
        bytes=state["bytes"],
        first_seq=state["first_seq"],
        last_seq=state["last_seq"],
        consumers=state.get("consumer_count", 0),
    )
