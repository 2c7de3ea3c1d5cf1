"""The durable consumers of a stream: how far each one is."""

import logging
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from relay.jetstream.connection import Connection
from relay.jetstream.errors import LookupForbidden, RequestRefused
from relay.jetstream.stream_reader import StreamReader
from relay.observe.snapshot import ConsumerView

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0


async def consumers_of(connection: Connection, stream: str, names: Sequence[str] = ()) -> list[ConsumerView]:
    """Look at the durable consumers of a stream: two questions, and one more for each consumer that is behind.

    Args:
        names: Patterns of durable names; empty: all of them.

    Raises:
        LookupForbidden: Nobody answers; this account may have no right to ask.
        BrokerError: The connection has ended, or the stream cannot say now.
    """
    state = await connection.stream_state(stream, _TIMEOUT_S)
    if state is None:
        return []
    stored = StreamReader(connection, state)
    return [await _view(stored, info) for info in await _list(stored) if _wanted(info, names)]


async def _list(stored: StreamReader) -> list[Mapping[str, Any]]:
    """Ask for all consumers, page by page."""
    found: list[Mapping[str, Any]] = []
    while True:
        question, api = f"CONSUMER.LIST.{stored.state.bare_name}", stored.state.api
        if not stored.connection.may_request(question, api):
            raise LookupForbidden(f"not permitted to ask {question}")
        answer = await stored.connection.request(question, {"offset": len(found)}, _TIMEOUT_S, api)
        if "error" in answer:
            raise RequestRefused(f"{question}: {answer['error'].get('description')}")
        page = answer.get("consumers") or []
        found += page
        if not page or len(found) >= answer.get("total", 0):
            return found


def _wanted(info: Mapping[str, Any], names: Sequence[str]) -> bool:
    name = info["config"].get("durable_name")
    return bool(name) and (not names or any(fnmatchcase(name, pattern) for pattern in names))


async def _view(stored: StreamReader, info: Mapping[str, Any]) -> ConsumerView:
    pending, unacknowledged = info.get("num_pending", 0), info.get("num_ack_pending", 0)
    oldest_at = None
    if pending or unacknowledged:
        config = info["config"]
        patterns = config.get("filter_subjects") or [config.get("filter_subject") or ">"]
        after = info["ack_floor"]["stream_seq"]
        try:
            times = [await stored.time_from(after + 1, pattern) for pattern in patterns]
        except LookupForbidden:
            times = []  # the counts are worth something by themselves
        oldest_at = min((time for time in times if time is not None), default=None)
    return ConsumerView(stored.state.name, info["name"], pending, unacknowledged, oldest_at)
