"""Compare what two ways of sending have put into their streams. Pure: no I/O.

One is the old reader's, the other the relay's, of a trial outbox beside it. A message is known by an id that both send.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from relay.operate.adopt.payload_digests import Digests

_SHOWN = 20

Side = Literal["old", "new"]
Payloads = Literal["bytes", "json", "json-without-nulls"]
# By what two payloads may differ and still count as the same.
_SAME: dict[Payloads, tuple[str, ...]] = {
    "bytes": (),
    "json": ("other.body_form",),
    "json-without-nulls": ("other.body_form", "other.body_nulls"),
}


class Sent(NamedTuple):
    """A message of one of the streams.

    Attributes:
        id: What both sides know it by; None if it has none.
        stream_seq: Its sequence in its stream.
        time_ns: When its stream stored it, Unix nanoseconds.
        subject: On which it was sent, without what only this side puts before it.
        key: Of the event; None for none, or if this side does not send it.
        body: The digests of the payload.
        headers: As they were sent.
    """

    id: str | None
    stream_seq: int
    time_ns: int
    subject: str
    key: str | None
    body: Digests
    headers: Mapping[str, str]


class Window(NamedTuple):
    """The time of which everything must be in both streams, Unix nanoseconds, both ends included.

    Messages outside the window are read too: the other side may have sent its own earlier or later.
    """

    begin_ns: int
    end_ns: int

    def holds(self, message: Sent) -> bool:
        """Report whether a message was stored within it."""
        return self.begin_ns <= message.time_ns <= self.end_ns


class Difference(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        kind: A stable name.
        events: How often it was found.
        examples: The first ids, or stream sequences if there is no id; at most 20.
    """

    kind: str
    events: int
    examples: tuple[str, ...]


class Comparison(NamedTuple):
    """What was compared.

    Attributes:
        old: Messages of the old side within the window.
        new: Messages of the new side within the window.
        both: How many ids are in both.
        with_key: How many of those have a key on the new side; of these alone the order is compared.
        differences: Empty if the sides agree.
    """

    old: int
    new: int
    both: int
    with_key: int
    differences: tuple[Difference, ...]


def compare(old: Sequence[Sent], new: Sequence[Sent], window: Window, payloads: Payloads = "bytes") -> Comparison:
    """Compare two streams.

    Args:
        old: Its messages, ascending, of the window and of some time before and after it.
        new: The same of the other side, which sends the key of each event.
        window: What is judged. An id of one side's window may be anywhere in the other's messages.
        payloads: When two payloads are the same.
    """
    mine: dict[Side, dict[str, Sent]] = {"old": {}, "new": {}}
    found: dict[str, list[str]] = defaultdict(list)
    for side, messages in _sides(old, new):
        for message in messages:
            if message.id is None:
                if window.holds(message):
                    found[f"{side}.no_id"].append(f"#{message.stream_seq}")
            elif message.id not in mine[side]:
                mine[side][message.id] = message
            elif window.holds(message):
                found[f"{side}.twice"].append(message.id)
    both = [one for one in mine["old"] if one in mine["new"]]
    for side, own, others in (("old", mine["old"], mine["new"]), ("new", mine["new"], mine["old"])):
        found[f"{side}.only"] += [one for one in own if one not in others and window.holds(own[one])]
    for known in both:
        theirs, ours = mine["old"][known], mine["new"][known]
        if theirs.subject != ours.subject:
            found["other.subject"].append(known)
        kind = _other_body(theirs.body, ours.body)
        if kind is not None and kind not in _SAME[payloads]:
            found[kind].append(known)
        if not _of_application(theirs).items() <= ours.headers.items():
            found["other.headers"].append(known)
    found["other.order"] = _out_of_order(mine["old"], mine["new"], both)
    differences = [
        Difference(kind, len(examples), tuple(examples[:_SHOWN]))
        for kind, examples in sorted(found.items())
        if examples
    ]
    judged = Counter({side: sum(map(window.holds, messages)) for side, messages in _sides(old, new)})
    with_key = sum(mine["new"][known].key is not None for known in both)
    return Comparison(judged["old"], judged["new"], len(both), with_key, tuple(differences))


def _other_body(theirs: Digests, ours: Digests) -> str | None:
    """Return by what two payloads differ, None if they do not."""
    if theirs.exact == ours.exact:
        return None
    if theirs.as_json is None or ours.as_json is None:
        return "other.body"
    if theirs.as_json == ours.as_json:
        return "other.body_form"
    return "other.body_nulls" if theirs.without_nulls == ours.without_nulls else "other.body"


def _of_application(message: Sent) -> dict[str, str]:
    """Return the headers that the new side must send as well: all but those that JetStream reads."""
    return {name: value for name, value in message.headers.items() if not name.lower().startswith("nats-")}


def _sides(old: Sequence[Sent], new: Sequence[Sent]) -> Iterable[tuple[Side, Sequence[Sent]]]:
    yield "old", old
    yield "new", new


def _out_of_order(old: dict[str, Sent], new: dict[str, Sent], both: Sequence[str]) -> list[str]:
    """Return the ids that one side sent behind, and the other before, an event of the same key."""
    newest: dict[str, int] = {}
    found = []
    for known in sorted(both, key=lambda one: old[one].stream_seq):
        ours = new[known]
        if ours.key is None:
            continue
        if newest.get(ours.key, 0) > ours.stream_seq:
            found.append(known)
        newest[ours.key] = max(newest.get(ours.key, 0), ours.stream_seq)
    return found
