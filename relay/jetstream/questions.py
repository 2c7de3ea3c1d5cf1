"""The few questions that we ask of JetStream over a connection."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import nats.errors
from nats.errors import Error as NatsError

from relay.cancellation import honour_cancellation
from relay.jetstream import frames
from relay.jetstream.client import Client
from relay.jetstream.errors import NO_SUCH_STREAM, BrokerError, LookupForbidden, LookupRefused, RequestRefused, in_words
from relay.jetstream.header_block import headers_of, status_of
from relay.jetstream.stream_info import read_state
from relay.rules.stream.streams import JETSTREAM_API, StreamFacts, StreamState, may_exist, split

_ATOMIC_SINCE = (2, 12, 1)  # with message ids
_DIRECT_BATCH_SINCE = (2, 11, 0)
_UNAVAILABLE = 503
# The number of a question that is asked with others has fewer.
_DIGITS = 10


class Questions:
    """Asks over a client, and remembers what it was refused."""

    def __init__(self, client: Client) -> None:
        self._nc = client
        self._domain = client.domain
        version = client.connected_server_version
        self.server = f"{version.major}.{version.minor}.{version.patch}"
        self.takes_atomic = (version.major, version.minor, version.patch) >= _ATOMIC_SINCE
        self._reads_batches = (version.major, version.minor, version.patch) >= _DIRECT_BATCH_SINCE
        # Subjects that this account may not publish on, in lower case.
        self._denied: set[str] = set()
        # Since when JetStream has answered nothing, monotonic seconds; None: its last answer is newer than any question
        # without one.
        self._silent_since: float | None = None

    def silent_s(self) -> float:
        """Return for how long nothing that was asked of JetStream over this connection was answered, seconds.

        What is not permitted to ask does not count, and an acknowledgement is an answer.
        """
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def has_answered(self) -> None:
        """Note that JetStream has answered."""
        self._silent_since = None

    def _has_not_answered(self) -> None:
        if self._silent_since is None:
            self._silent_since = time.monotonic()

    async def stream_of(self, subject: str, timeout_s: float) -> StreamFacts | None:
        """Look up the stream that takes a subject; None if there is none, or it is gone before it could be asked.

        Raises:
            BrokerError: No answer, or not permitted.
        """
        names = (await self._ask("STREAM.NAMES", {"subject": subject}, timeout_s)).get("streams") or []
        if not names:
            return None
        state = await self.stream_state(names[0], timeout_s)
        return None if state is None else state.facts

    async def takes_any(self, pattern: str, timeout_s: float) -> bool:
        """Report whether some stream takes a subject that a pattern matches.

        Raises:
            BrokerError: No answer, or not permitted.
        """
        return bool(await self.streams_of(pattern, timeout_s))

    async def streams_of(self, subject: str, timeout_s: float) -> list[str]:
        """Return the names of the streams that take a subject, or one that matches a pattern.

        Raises:
            BrokerError: No answer, or not permitted.
        """
        return list((await self._ask("STREAM.NAMES", {"subject": subject}, timeout_s)).get("streams") or ())

    async def stream_state(self, stream: str, timeout_s: float) -> StreamState | None:
        """Ask the leader of a stream what it holds now.

        A stream of another domain than that of our server (`relay.rules.stream.streams.qualified`) is asked there: a
        namesake here is another stream. Returns None if there is no such stream in its domain, or can be none of this
        name.

        Raises:
            BrokerError: No answer, or not permitted.
        """
        if not may_exist(stream):
            return None
        domain, name = split(stream)
        api = self.api_of(stream)
        question = f"STREAM.INFO.{name}"
        info = await self.request(question, None, timeout_s, api)
        if info.get("error", {}).get("err_code") == NO_SUCH_STREAM:
            return None
        if "error" in info:
            raise RequestRefused(f"{question}: {info['error'].get('description')}")
        if domain and info.get("domain", "") != domain:
            return None
        return read_state(info, api, takes_atomic=self.takes_atomic, reads_batches=self._reads_batches)

    def api_of(self, stream: str) -> str:
        """Return the prefix of the subjects under which the domain of a stream answers questions."""
        domain, _ = split(stream)
        return f"$JS.{domain}.API" if self._domain and domain not in ("", self._domain) else JETSTREAM_API

    def may_request(self, question: str, api: str = JETSTREAM_API) -> bool:
        """Report whether the server has not yet said that this account has no right to a question."""
        return f"{api}.{question}".lower() not in self._denied

    def denies(self, stream: str) -> bool:
        """Report whether some question about a stream was refused for want of a right."""
        name = split(stream)[1].lower()
        return any(subject.startswith("$js.") and subject.rpartition(".")[2] == name for subject in self._denied)

    def _unanswered(self, question: str, api: str) -> LookupForbidden:
        """Return why no answer came: a refusal is reported apart from the question."""
        asked = question if api == JETSTREAM_API else f"{api}.{question}"
        if self.may_request(question, api):
            self._has_not_answered()
            return LookupForbidden(f"no answer to {asked}")
        return LookupRefused(f"not permitted to ask {asked}")

    async def request_many(
        self, question: str, body: Mapping[str, object], timeout_s: float, api: str = JETSTREAM_API
    ) -> tuple[list[Mapping[str, str]], str]:
        """Ask what is answered by many messages, for example ``DIRECT.GET.ORDERS`` with a batch.

        Returns:
            The headers of each message, in order, and the status that ended them: 204 the end of the batch, 404
            nothing there, 503 nobody answers.

        Raises:
            LookupForbidden: For `timeout_s` nothing came, as if the account has no right to ask.
            BrokerError: The connection has ended.
        """
        with honour_cancellation():
            try:
                return await self._gather(f"{api}.{question}", body, timeout_s)
            except TimeoutError as error:
                raise self._unanswered(question, api) from error
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error

    async def _gather(
        self, subject: str, body: Mapping[str, object], timeout_s: float
    ) -> tuple[list[Mapping[str, str]], str]:
        inbox = self._nc.new_inbox()
        blocks: list[bytes] = []
        ends: list[str] = []
        came = asyncio.Event()

        def take(_: bytes, __: bytes, data: bytes, block: bytes) -> None:
            status = status_of(block)
            if status and not data:
                ends.append(status)
            else:
                blocks.append(block)
            came.set()

        subscription = await self._nc.listen(inbox, take)
        try:
            await self._nc.publish(subject, json.dumps(body).encode(), inbox)
            while not ends:
                async with asyncio.timeout(timeout_s):
                    await came.wait()
                came.clear()
            return [headers_of(block) for block in blocks], ends[0]
        finally:
            await self._nc.stop_listening(subscription)

    async def request(
        self, question: str, body: Mapping[str, object] | None, timeout_s: float, api: str = JETSTREAM_API
    ) -> dict[str, Any]:
        """Ask the JetStream API, for example ``STREAM.INFO.ORDERS``; an error answer comes back as it is.

        `api` is the prefix of the subject: that of another domain asks the streams there.

        Raises:
            LookupForbidden: Nobody answers, or not in time, as if the account has no right to ask.
            BrokerError: The connection has ended, or what answered is not JetStream.
        """
        data = b"" if body is None else json.dumps(body).encode()
        with honour_cancellation():
            try:
                answer = await self._nc.request(f"{api}.{question}", data, timeout=timeout_s)
            except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as error:
                raise self._unanswered(question, api) from error
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error
        decoded = _decoded(answer.data, f"{api}.{question}")
        # A server that has lost its cluster says itself that JetStream is not there.
        if decoded.get("error", {}).get("code") == _UNAVAILABLE:
            self._has_not_answered()
        else:
            self.has_answered()
        return decoded

    async def request_each(
        self, question: str, bodies: Sequence[Mapping[str, object]], timeout_s: float, api: str = JETSTREAM_API
    ) -> list[dict[str, Any]]:
        """Ask the JetStream API a question several times at once, as `request` does; return the answers in order.

        An answer costs a third of what it costs with `request`, which makes a task, a timer and a future for it.

        Raises:
            LookupForbidden, BrokerError: As `request`; an answer is missing.
        """
        subject = f"{api}.{question}"
        inbox = f"{self._nc.new_inbox()}."
        answers: dict[int, bytes] = {}
        nobody: list[bytes] = []
        done = asyncio.Event()

        def take(reply: bytes, _: bytes, data: bytes, block: bytes) -> None:
            number = reply[len(inbox) :]
            if not data and status_of(block) == "503":
                nobody.append(number)
            elif number.isdigit() and len(number) < _DIGITS and int(number) < len(bodies):
                answers[int(number)] = data
            if nobody or len(answers) == len(bodies):
                done.set()

        with honour_cancellation():
            try:
                subscription = await self._nc.listen(f"{inbox}*", take)
                try:
                    await self._nc.send(
                        frames.questions(subject, [json.dumps(body).encode() for body in bodies], inbox)
                    )
                    async with asyncio.timeout(timeout_s):
                        await done.wait()
                finally:
                    await self._nc.stop_listening(subscription)
            except TimeoutError as error:
                raise self._unanswered(question, api) from error
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error
        if nobody:
            raise self._unanswered(question, api)
        self.has_answered()
        return [_decoded(answers[number], subject) for number in range(len(bodies))]

    async def responds(self, question: str, body: Mapping[str, object], timeout_s: float) -> bool | None:
        """Report whether a question of the JetStream API is answered; None if it is not in time, as without a right.

        Raises:
            BrokerError: The connection has ended.
        """
        with honour_cancellation():
            try:
                await self._nc.request(f"{JETSTREAM_API}.{question}", json.dumps(body).encode(), timeout=timeout_s)
            except nats.errors.NoRespondersError:
                return False
            except nats.errors.TimeoutError:
                return None
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error
            return True

    async def _ask(self, question: str, body: Mapping[str, object] | None, timeout_s: float) -> dict[str, Any]:
        answer = await self.request(question, body, timeout_s)
        if "error" in answer:
            raise RequestRefused(f"{question}: {in_words(answer['error'])}")
        return answer


def _decoded(data: bytes, subject: str) -> dict[str, Any]:
    """Read an answer of the JetStream API.

    Raises:
        BrokerError: It is none. Somebody else may answer on the subject of a question.
    """
    try:
        decoded = json.loads(data)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict) or not isinstance(decoded.get("error", {}), dict):
        raise BrokerError(f"{subject}: the answer is not JetStream's")
    return decoded
