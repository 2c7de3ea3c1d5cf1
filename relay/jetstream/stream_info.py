"""What the answer to STREAM.INFO says of a stream."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.rules.stream.streams import StreamFacts, StreamState, qualified


def read_facts(info: Mapping[str, Any], *, takes_atomic: bool) -> StreamFacts:
    """Read what decides how we publish to the stream.

    Args:
        info: The answer.
        takes_atomic: The server knows atomic batches with message ids.
    """
    config = info["config"]
    return StreamFacts(
        name=qualified(info.get("domain", ""), config["name"]),
        subjects=tuple(config.get("subjects") or ()),
        atomic=bool(config.get("allow_atomic")) and takes_atomic,
        batches_in_files=config.get("storage") == "file" and config.get("num_replicas") == 1,
        no_ack=bool(config.get("no_ack")),
        duplicate_window_s=config.get("duplicate_window", 0) / 1e9,
    )


def read_state(info: Mapping[str, Any], api: str, *, takes_atomic: bool, reads_batches: bool) -> StreamState:
    """Read what the stream holds.

    Args:
        info: The answer.
        api: The prefix of the subject under which it came.
        takes_atomic: The server knows atomic batches with message ids.
        reads_batches: The server can be asked for many messages at once.
    """
    config, state = info["config"], info["state"]
    max_age_s = config.get("max_age", 0) / 1e9
    return StreamState(
        facts=read_facts(info, takes_atomic=takes_atomic),
        created=info["created"],
        created_at=unix_time(info["created"]),
        first_seq=state["first_seq"],
        last_seq=state["last_seq"],
        api=api,
        mirror=bool(config.get("mirror")),
        max_age_s=max_age_s,
        trims=max_age_s > 0 or config.get("max_msgs", -1) > 0 or config.get("max_bytes", -1) > 0,
        thins=config.get("max_msgs_per_subject", -1) > 0
        or config.get("retention", "limits") != "limits"
        or bool(config.get("allow_msg_ttl"))
        or bool(config.get("allow_rollup_hdrs")),
        direct=bool(config.get("allow_direct")) and reads_batches,
        room=room_of(config, state)[0],
        at=unix_time(info["ts"]) if "ts" in info else None,
    )


def room_of(config: Mapping[str, Any], state: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """Return which share of the narrowest limit of messages or bytes is left, and which limit; None without one."""
    shares = [
        (1 - state[held] / config[limit], limit)
        for limit, held in (("max_msgs", "messages"), ("max_bytes", "bytes"))
        if config.get(limit, -1) > 0
    ]
    return min(shares, default=(None, None))


def unix_time(moment: str) -> float:
    """Read a time of the server: RFC 3339 with up to nine digits of a second, of which six are kept."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", moment)).timestamp()
