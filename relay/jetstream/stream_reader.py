"""Read message ids out of a stream: by batches if server and stream allow it, else one by one."""

import base64
import logging
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from relay.jetstream.connection import Connection
from relay.jetstream.errors import LookupForbidden, LookupRefused, RequestRefused
from relay.jetstream.stream_info import unix_time
from relay.rules.stream.streams import StreamState

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0
_BATCH = 1000
# Single messages that are asked for together: one at a time each takes a round trip.
_AT_ONCE = 500
# Payloads come along with the headers: this much of them at a time.
_BATCH_BYTES = 8 * 1024 * 1024
_NO_MESSAGE = 10037
_HEADER = re.compile(rb"^(nats-msg-id|outbox-seq|outbox-origin):[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
# As PostgreSQL writes one.
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIGITS = re.compile(r"[0-9]{1,19}")
_MAX_SEQ = 2**63 - 1


class StoredId(NamedTuple):
    """A message in a stream.

    Attributes:
        seq: Its sequence.
        message_id: Its ``Nats-Msg-Id``, None without.
        outbox_seq: Its ``Outbox-Seq``, None without one that an outbox could have.
        origin: Its ``Outbox-Origin``, empty without.
    """

    seq: int
    message_id: str | None
    outbox_seq: int | None = None
    origin: str = ""


def event_ids(page: Sequence[StoredId]) -> dict[str, int]:
    """Return the message ids that may be those of events, which are UUIDs, with their sequences; ascending."""
    return {one.message_id: one.seq for one in page if one.message_id is not None and _UUID.fullmatch(one.message_id)}


def _outbox_seq(text: str) -> int | None:
    """Read a seq; anybody may write that header."""
    seq = int(text) if _DIGITS.fullmatch(text) else None
    return seq if seq is not None and seq <= _MAX_SEQ else None


@dataclass(frozen=True, slots=True)
class StreamReader:
    """One stream as it was at one moment."""

    connection: Connection
    state: StreamState

    async def pages(self, first: int, last: int) -> AsyncIterator[list[StoredId]]:
        """Return the messages from `first` to `last`, both included, ascending, in pages of at most 1,000.

        Any replica answers batches, and it may lag: if it ends early the leader is asked for the rest.

        Raises:
            LookupForbidden: Nobody answers; this account may have no right to read the stream.
            BrokerError: The connection has ended.
        """
        at = max(first, self.state.first_seq, 1)
        last = min(last, self.state.last_seq)
        page = await self._batch(at, last) if self.state.direct and at <= last else None
        answered = page is not None
        while page:
            at = page[-1].seq + 1
            yield [one for one in page if one.seq <= last]
            page = await self._batch(at, last) if at <= last else None
        while at <= last:
            try:
                page = await self._by_leader(at, last)
            except LookupForbidden:
                if answered:
                    return  # batches may be read and single messages not: the replica's word has to do
                raise
            if not page:
                return
            at = page[-1].seq + 1
            yield page

    async def _batch(self, first: int, last: int) -> list[StoredId] | None:
        """Return the next messages from a sequence on; empty if there are none, None if nobody answers."""
        question = f"DIRECT.GET.{self.state.bare_name}"
        body = {"seq": first, "batch": min(_BATCH, last - first + 1), "max_bytes": _BATCH_BYTES}
        try:
            headers, status = await self.connection.request_many(question, body, _TIMEOUT_S, self.state.api)
        except LookupForbidden:
            log.debug("stream %s gives no batches; asking for single messages", self.state.name)
            return None
        if status not in ("204", "404"):
            return None
        return [
            StoredId(
                int(one["Nats-Sequence"]),
                one.get("Nats-Msg-Id"),
                _outbox_seq(one.get("Outbox-Seq", "")),
                one.get("Outbox-Origin", ""),
            )
            for one in headers
        ]

    async def _by_leader(self, first: int, last: int) -> list[StoredId]:
        page: list[StoredId] = []
        at_once = 1
        while first <= last and len(page) < _BATCH:
            at_once = min(at_once, _BATCH - len(page))
            if at_once == 1:
                # The next one, wherever it is: between two of them any number may have been deleted.
                found = await self._message(first, {"next_by_subj": ">"})
                if found is None:
                    break
                several, first = [found], found.seq + 1
            else:
                asked = range(first, min(first + at_once, last + 1))
                several, first = await self._messages(asked), asked.stop
            page += several
            at_once = min(_AT_ONCE, at_once * 2) if 2 * len(several) >= at_once else 1
        return page

    async def _messages(self, seqs: Iterable[int]) -> list[StoredId]:
        """Ask the leader for several messages at once; return those that it has, ascending.

        Raises:
            LookupForbidden, BrokerError: As of one of them.
        """

        question = self._single()
        bodies = [{"seq": seq} for seq in seqs]
        answers = await self.connection.request_each(question, bodies, _TIMEOUT_S, self.state.api)
        return [found for answer in answers if (found := _stored(answer, question)) is not None]

    async def at(self, seq: int) -> StoredId | None:
        """Ask the leader for the message at a sequence; None if it has none.

        Raises:
            LookupForbidden: Nobody answers; this account may have no right to ask.
            BrokerError: The connection has ended, or the leader cannot say now.
        """
        try:
            return await self._message(seq, {})
        except LookupForbidden:
            if not self.state.direct:
                raise
        page = await self._batch(seq, seq)
        return page[0] if page and page[0].seq == seq else None

    async def time_from(self, seq: int, pattern: str) -> float | None:
        """Return when the first message with a matching subject from a sequence on was stored, Unix seconds; or None.

        Raises:
            LookupForbidden: Nobody answers; this account may have no right to read the stream.
            BrokerError: The connection has ended, or the leader cannot say now.
        """
        how = {"seq": seq, "next_by_subj": pattern}
        question = f"DIRECT.GET.{self.state.bare_name}"
        if self.state.direct and self.connection.may_request(question, self.state.api):
            headers, status = await self.connection.request_many(
                question, {**how, "batch": 1}, _TIMEOUT_S, self.state.api
            )
            if headers:
                return unix_time(headers[0]["Nats-Time-Stamp"])
            if status in ("204", "404"):
                return None
        question = f"STREAM.MSG.GET.{self.state.bare_name}"
        answer = await self.connection.request(question, how, _TIMEOUT_S, self.state.api)
        error = answer.get("error")
        if error is None:
            return unix_time(answer["message"]["time"])
        if error.get("err_code") == _NO_MESSAGE:
            return None
        raise RequestRefused(f"{question}: {error.get('description')}")

    async def _message(self, seq: int, how: dict[str, object]) -> StoredId | None:
        question = self._single()
        return _stored(
            await self.connection.request(question, {"seq": seq, **how}, _TIMEOUT_S, self.state.api), question
        )

    def _single(self) -> str:
        """Return the question for a single message.

        Raises:
            LookupRefused: The server has said that this account has no right to it.
        """
        question = f"STREAM.MSG.GET.{self.state.bare_name}"
        if not self.connection.may_request(question, self.state.api):
            raise LookupRefused(f"not permitted to ask {question}")
        return question


def _stored(answer: dict[str, Any], question: str) -> StoredId | None:
    """Read the leader's answer; None if it has no such message.

    Raises:
        RequestRefused: It cannot say now.
    """
    error = answer.get("error")
    if error is not None:
        if error.get("err_code") == _NO_MESSAGE:
            return None
        raise RequestRefused(f"{question}: {error.get('description')}")
    message = answer["message"]
    block = base64.b64decode(message.get("hdrs", ""))
    # The first of each name counts, as with the headers of a batch.
    headers = {name.lower(): value.decode("utf-8", "replace") for name, value in reversed(_HEADER.findall(block))}
    return StoredId(
        message["seq"],
        headers.get(b"nats-msg-id"),
        _outbox_seq(headers.get(b"outbox-seq", "")),
        headers.get(b"outbox-origin", ""),
    )
