"""A batch of messages in the relay's usual form, read by columns and not one by one. Pure: no I/O.

Nearly all that comes is alike: the same headers in the same order, a key, a seq of one origin, text that holds no
control character. To read such messages one by one costs more than all else that is done with them, and most of it is
making objects that nobody looks at: a statement takes its events as one text for each column. Here these texts are made
of the whole batch at once.

This decides nothing of its own. What it returns is what `relay.projection.rules.incoming.read` says of each message,
and that none has a fault; if a single message is not plainly so, it returns None, and they are read one by one.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from relay.projection.rules.grouping import Mode
from relay.projection.rules.incoming import ABSENT, MAX_DIGITS, MAX_ORIGIN, MAX_SEQ, SEPARATOR, VERSION, joined

Message = tuple[int, int, str, bytes, bytes]
"""Its sequence in the stream, when it was stored, its subject, the block of its headers, its payload."""

_LINE = "\r\n"
_NUL = "\x00"
# Which batch of its sender a message came in is nothing to us, and it differs: the last one says that it is the last.
_BATCH = f"{_LINE}Nats-Batch-"
_OF_BATCHES = re.compile(f"{_BATCH}[^\r]*(?={_LINE})")
_VERSION = 6  # its place among the columns
_ASKED_FOR = frozenset({"Nats-Msg-Id", "Outbox-Key", "Outbox-Seq", "Outbox-Created-At"})
_REPLAY = frozenset({"Outbox-Replay", "Outbox-Replay-Of"})


class Columns(NamedTuple):
    """Events of the usual form, in the order of the stream.

    Attributes:
        topics: The subjects on which they came.
        origin: Which history of the outbox all the seqs belong to.
        seqs: Of each event, its seq in the outbox.
        keys: Of each event, its key.
        created: Of each event, when it was created, Unix seconds.
        texts: One for each column of a statement's ``event``, as `relay.projection.sql_text.parameters` makes them.
    """

    topics: frozenset[str]
    origin: str
    seqs: Sequence[int]
    keys: Sequence[str]
    created: Sequence[float]
    texts: tuple[str, ...]

    @property
    def version(self) -> int | None:
        """The version that all payloads have; None if they have several."""
        found = set(_values(self.texts[_VERSION]))
        return int(found.pop()) if len(found) == 1 else None

    def rows(self) -> list[list[object]]:
        """Return the parameters of each event alone, for mode ``each``."""
        columns = [[value + SEPARATOR for value in _values(text)] for text in self.texts]
        return [[*row, 1] for row in zip(*columns, strict=True)]

    def steps(self, mode: Mode) -> list[list[object]]:
        """Return the parameters of each statement that applies these events, in the order of the statements.

        Each key keeps its order, and with mode ``set`` none is twice in a statement. With mode ``each`` for one event.
        """
        if mode is Mode.FOLD or len(set(self.keys)) == len(self.keys):
            return [[*self.texts, len(self.keys)]]
        places: list[list[int]] = []
        times: dict[str, int] = {}
        for place, key in enumerate(self.keys):
            step = times.get(key, 0)
            times[key] = step + 1
            if step == len(places):
                places.append([])
            places[step].append(place)
        columns = [text.split(SEPARATOR) for text in self.texts]
        return [[*(joined([column[at] for at in step]) for column in columns), len(step)] for step in places]


def columns_of(messages: Sequence[Message]) -> Columns | None:
    """Read messages of the usual form; None if they must be read one by one.

    Args:
        messages: At least one, in the order of the stream.
    """
    stream_seqs, _, subjects, blocks, payloads = zip(*messages, strict=True)
    try:
        data = SEPARATOR.encode().join(payloads).decode()
        headers = _headers(blocks)
    except UnicodeDecodeError:
        return None
    topics = frozenset(subjects)
    if headers is None or not _is_clean(data, len(messages) - 1) or not _is_clean("".join(topics), 0):
        return None
    seqs = _seqs(headers["Outbox-Seq"])
    created = _created(headers["Outbox-Created-At"])
    origins = set(_values(headers["Outbox-Origin"])) if "Outbox-Origin" in headers else {""}
    origin = origins.pop()
    if seqs is None or created is None or origins or origin != origin.strip() or len(origin) > MAX_ORIGIN:
        return None
    if not _are_stripped(headers["Nats-Msg-Id"]) or not _are_versions(headers.get("Event-Version", "")):
        return None
    texts = (
        headers["Outbox-Seq"],
        joined(map(str, stream_seqs)),
        headers["Nats-Msg-Id"],
        headers["Outbox-Key"],
        joined(subjects),
        headers["Outbox-Created-At"],
        headers.get("Event-Version") or joined("1" * len(messages)),
        data + SEPARATOR,
    )
    return Columns(topics, origin, seqs, _values(headers["Outbox-Key"]), created, texts)


def _headers(blocks: Sequence[bytes]) -> dict[str, str] | None:
    """Return the values of each header, joined; None if the blocks are not of the same headers in the same order.

    Raises:
        UnicodeDecodeError: A block is not UTF-8.
    """
    text = f"{SEPARATOR}{_LINE}".encode().join(blocks).decode()
    if not _is_clean(text, len(blocks) - 1):
        return None
    if _BATCH in text:
        text = _OF_BATCHES.sub("", text)
    # The separators are the only ones there: if each ends as many lines as the first, all blocks have the same lines.
    lines = text.split(_LINE)
    width = lines.index(SEPARATOR) + 1 if SEPARATOR in lines else len(lines)
    if lines[width - 1 :: width] != [SEPARATOR] * (len(blocks) - 1) + [""] or len(lines) != width * len(blocks):
        return None
    headers: dict[str, str] = {}
    for place in range(1, width - 1):
        column = lines[place::width]
        name, found, _ = column[0].partition(":")
        if not found:
            if any(column):
                return None
            continue
        begin = f"{SEPARATOR}{name}: "
        values = SEPARATOR + SEPARATOR.join(column)
        if name in headers or values.count(begin) != len(blocks):
            return None
        headers[name] = values.replace(begin, SEPARATOR)[1:] + SEPARATOR
    return headers if headers.keys() >= _ASKED_FOR and headers.keys().isdisjoint(_REPLAY) else None


def _is_clean(text: str, separators: int) -> bool:
    """Report whether no character is in a text that must not be, and no separator but those that join it."""
    return text.count(SEPARATOR) == separators and ABSENT not in text and _NUL not in text


def _values(text: str) -> list[str]:
    return text[:-1].split(SEPARATOR)


def _seqs(text: str) -> list[int] | None:
    """Read seqs as the relay writes them; None if one may be written in another way, or is none."""
    values = _values(text)
    digits = "".join(values)
    if not digits.isascii() or not digits.isdigit() or "" in values or len(max(values, key=len)) > MAX_DIGITS:
        return None
    if text.startswith("0") or f"{SEPARATOR}0" in text:
        return None
    seqs = list(map(int, values))
    return seqs if max(seqs) <= MAX_SEQ else None


def _created(text: str) -> list[float] | None:
    if not _are_stripped(text):
        return None
    try:
        moments = list(map(datetime.fromisoformat, _values(text)))
    except ValueError:
        return None
    if any(moment.tzinfo is None for moment in moments):
        return None
    return [moment.timestamp() for moment in moments]


def _are_versions(text: str) -> bool:
    return all(VERSION.fullmatch(one) for one in set(_values(text))) if text else True


def _are_stripped(text: str) -> bool:
    values = _values(text)
    return list(map(str.strip, values)) == values
