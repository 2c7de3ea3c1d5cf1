"""Create or adjust the stream, if the relay is asked to (``[stream] manage = true``)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.jetstream.connection import Connection
from relay.jetstream.errors import NO_SUCH_STREAM, RequestRefused, in_words
from relay.observe.logs import event as log_event

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0

# On disk, and refuse rather than drop what is oldest, so that a full stream is noticed.
NEW_STREAM = {"retention": "limits", "storage": "file", "discard": "new"}


@dataclass(frozen=True)
class ManagedStream:
    """The stream that is wanted; the fields follow the ``[stream]`` section.

    Attributes:
        duplicate_window_s: Seconds in which a repeated message id is dropped.
        max_age_s: Seconds; 0 keeps messages for ever.
        max_bytes: -1 sets no limit; likewise `max_msgs`, and `max_msg_size` in bytes of one message. These two are left
            as they are without one.
    """

    name: str
    subjects: Sequence[str]
    replicas: int = 1
    duplicate_window_s: float = 120.0
    max_age_s: float = 0.0
    max_bytes: int = -1
    max_msgs: int = -1
    max_msg_size: int = -1
    allow_atomic: bool = True
    allow_direct: bool = True

    def config(self, *, takes_atomic: bool) -> dict[str, Any]:
        """Return the part of a stream's configuration that the relay sets, in JetStream's terms."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": list(self.subjects),
            "num_replicas": self.replicas,
            "max_age": round(self.max_age_s * 1e9),
            "max_bytes": self.max_bytes,
            "duplicate_window": round(self.duplicate_window_s * 1e9),
            "allow_direct": self.allow_direct,
        }
        limits = {"max_msgs": self.max_msgs, "max_msg_size": self.max_msg_size}
        config |= {name: limit for name, limit in limits.items() if limit > 0}
        if takes_atomic:
            config["allow_atomic"] = self.allow_atomic
        return config


async def ensure_stream(connection: Connection, plan: ManagedStream) -> None:
    """Make the stream as planned, and leave alone what the plan does not name.

    Raises:
        BrokerError: JetStream refused, or did not answer. The stream is as it was.
    """
    wanted = plan.config(takes_atomic=connection.takes_atomic)
    info = await connection.request(f"STREAM.INFO.{plan.name}", None, _TIMEOUT_S)
    error = info.get("error")
    if error is not None and error.get("err_code") != NO_SUCH_STREAM:
        raise RequestRefused(f"stream {plan.name}: {error.get('description')}")
    if error is not None:
        await _done(connection, "CREATE", plan.name, {**NEW_STREAM, **wanted})
        return
    current: dict[str, Any] = info["config"]
    if any(current.get(name) != value for name, value in wanted.items()):
        await _done(connection, "UPDATE", plan.name, {**current, **wanted})


async def _done(connection: Connection, verb: str, name: str, config: dict[str, Any]) -> None:
    answer = await connection.request(f"STREAM.{verb}.{name}", config, _TIMEOUT_S)
    if "error" in answer:
        raise RequestRefused(f"stream {name}: {in_words(answer['error'])}")
    log_event(log, "info", "stream.managed", f"stream {verb.lower()}d", stream=name)
