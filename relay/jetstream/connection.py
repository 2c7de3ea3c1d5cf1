"""One connection to NATS, owned by us: publish, acknowledgements, and the few questions we ask of JetStream.

With `relay.jetstream.client` the only module of the relay that imports nats; the demo has its own consumer. nats-py's
reconnection is switched off: it would send what was buffered after we have already given it up, and it closes for good
on most errors of the server. A connection that ends is thrown away with everything in it, and what was in flight is
*unknown*: it is sent again with the same id.
"""

import asyncio
import functools
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import StaleConnectionError

from relay import credentials
from relay.cancellation import heed_cancellation, honour_cancellation
from relay.jetstream import answers, frames
from relay.jetstream.acknowledgements import Stored
from relay.jetstream.client import Client, Inbox, NatsOptions, RawListener, check_heard, deaf, limit_of
from relay.jetstream.errors import BrokerError
from relay.jetstream.frames import Message
from relay.jetstream.listener import Listener
from relay.jetstream.questions import Questions
from relay.rules.failure.failures import Failure, Forbidden, NoResponders, Refused, TimedOut
from relay.rules.failure.refused_right import forbidden_subject, unheard_subject

# Events of a batch between two returns to the event loop: about 1 ms.
_BREATH = 500

# Why a connection has ended whose pings were not answered.
UNANSWERED = str(StaleConnectionError())
# The limit of a message is asked again at most this often, seconds.
_LIMIT_PAUSE_S = 1.0


class Connection(Questions):
    """A connection that stands, until it ends; made by `connect`."""

    def __init__(
        self, client: Client, inbox: str, listener: Listener, limit_of_now: Callable[[], Awaitable[int | None]]
    ) -> None:
        super().__init__(client)
        self._inbox = inbox
        self._inbox_prefix = inbox.removesuffix(".").rpartition(".")[0]
        self._skip = len(inbox)
        # Its own for each connection: what an ended one has left half sent may still be open at the server.
        self._batch_prefix = f"{secrets.token_hex(4)}."
        self._listener = listener
        self._closing = False
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._last_error = ""
        self._limit_of_now = limit_of_now
        self._limit_asked_at = float("-inf")
        self.encrypted = client.encrypted
        # Set once an event was stored over it.
        self._proved = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether the connection is up."""
        return bool(self._nc.is_connected)

    @property
    def max_payload(self) -> int:
        """The largest message that the server takes from this account, bytes, as it said last."""
        return self._nc.max_payload

    async def ask_limit(self) -> int:
        """Return `max_payload` after asking the server again: it does not announce a change to open connections.

        Asks at most once a second. If it does not answer, what it said last is returned.
        """
        now = time.monotonic()
        if now - self._limit_asked_at >= _LIMIT_PAUSE_S:
            self._limit_asked_at = now
            self._nc.max_payload_is(await self._limit_of_now() or self.max_payload)
        return self.max_payload

    def ping_each(self, interval_s: float) -> None:
        """Ping the server at this interval from the next ping on, seconds."""
        self._nc.ping_each(interval_s)

    async def ended(self) -> str:
        """Wait until the connection has ended by itself; return why. One that we close never does."""
        return await asyncio.shield(self._end)

    async def proved(self) -> None:
        """Wait until an event of ours was stored over it."""
        await self._proved.wait()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send events one by one; each acknowledgement comes back under its token.

        Waits only while more than 4 MiB are not written to the socket.

        Raises:
            BrokerError: The connection has ended; which of them were sent is not known.
        """
        await self._send(frames.singles(messages, self._inbox))

    async def publish_batch(self, number: int, messages: Sequence[Message]) -> None:
        """Send events as one atomic batch; the answer to its commit comes back under `number`.

        Returns to the event loop now and then: encoding a batch takes milliseconds.

        Raises:
            BrokerError: The connection has ended; whether the batch is in the stream is not known.
        """
        own = f"Nats-Batch-Id: {self._batch_prefix}{number}\r\nNats-Batch-Sequence: "
        position = len(messages)
        _, subject, payload, lines = messages[-1]
        commit = (number, subject, payload, f"{lines}{own}{position}\r\nNats-Batch-Commit: 1\r\n")
        for start in range(0, position, _BREATH):
            end = start + _BREATH
            wire = frames.batch(messages[start : min(end, position - 1)], own, start + 1)
            if end >= position:
                wire += frames.singles([commit], f"{self._inbox}b")
            await self._send(wire)
            await asyncio.sleep(0)

    async def _send(self, wire: bytes) -> None:
        with honour_cancellation():
            try:
                await self._nc.send(wire)
            except (NatsError, OSError) as error:
                self._has_ended(str(error))
                raise BrokerError(str(error)) from error

    async def store(self, subject: str, payload: bytes, headers: Mapping[str, str], timeout_s: float) -> Failure | None:
        """Publish one message and wait for its acknowledgement; return why it was not stored, None if it was.

        Raises:
            BrokerError: The connection has ended; whether it was stored is not known.
        """
        with honour_cancellation():
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._store(subject, payload, dict(headers))
            except TimeoutError:
                return Forbidden(self._last_error) if subject.lower() in self._denied else TimedOut()
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error

    async def _store(self, subject: str, payload: bytes, headers: dict[str, str]) -> Failure | None:
        """Publish one message, and wait for the first answer that proves something."""
        inbox = self._nc.new_inbox()
        heard: asyncio.Queue[Msg] = asyncio.Queue()
        subscription = await self._nc.subscribe(inbox, cb=heard.put)
        try:
            await self._nc.publish(subject, payload, inbox, headers)
            while True:
                msg = await heard.get()
                if _nobody_listens(msg):
                    return NoResponders(None)
                answer = answers.read(msg.data)
                if answer is not None:
                    return answer if isinstance(answer, Refused) else None
        finally:
            await subscription.unsubscribe()

    async def listen(self, take: RawListener) -> Inbox:
        """Listen on a new inbox of ours.

        Args:
            take: Called with subject, reply subject, body and the block of the headers of each message as it is read.
                Must not raise.

        Raises:
            BrokerError: The connection has ended.
        """
        inbox = self._nc.new_inbox()
        with honour_cancellation():
            try:
                return Inbox(inbox, await self._nc.listen(inbox, take))
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error

    async def stop_listening(self, inbox: Inbox) -> None:
        """Listen no more on an inbox that `listen` has made.

        Raises:
            BrokerError: The connection has ended.
        """
        with honour_cancellation():
            try:
                await self._nc.stop_listening(inbox.subscription)
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error

    async def tell(self, subject: str, inbox: Inbox, body: bytes) -> None:
        """Send a message whose answers, if any, come on an inbox.

        Raises:
            BrokerError: The connection has ended; whether it was sent is not known.
        """
        with honour_cancellation():
            try:
                await self._nc.publish(subject, body, inbox.subject)
            except (NatsError, OSError) as error:
                raise BrokerError(str(error)) from error

    def give_up(self, reason: str) -> None:
        """Take the connection for ended, although it stands."""
        self._has_ended(reason)

    async def close(self) -> None:
        """Throw the connection away, and what it has not written."""
        self._closing = True
        with honour_cancellation():
            await self._nc.discard()

    def on_stored(self, stored: list[Stored]) -> None:
        """Take the usual acknowledgements of single events."""
        self._proved.set()
        self.has_answered()
        self._listener.stored(stored)

    async def on_answer(self, msg: Msg) -> None:
        """Take any other answer on our inbox."""
        token = answers.token_of(msg.subject[self._skip :])
        if token is None:
            return
        if _nobody_listens(msg):
            self._refused(token, NoResponders(None))
            return
        answer = answers.read(msg.data)
        if answer is not None:
            self.has_answered()
        match answer:
            case Refused() as refusal:
                self._refused(token, refusal)
            case answers.Acknowledged(stream, seq, _, events) if token.is_batch:
                self._proved.set()
                # Servers before 2.12 answer the commit as a single event, without a count.
                self._listener.batch_stored(token.number, stream, seq, events or 0)
            case answers.Acknowledged(stream, seq, duplicate):
                self._proved.set()
                self._listener.stored([(token.number, stream, seq, duplicate)])

    def _refused(self, token: answers.Token, failure: Refused | NoResponders) -> None:
        if token.is_batch:
            self._listener.batch_refused(token.number, failure)
        else:
            self._listener.refused(token.number, failure)

    async def on_error(self, error: Exception) -> None:
        """Take an asynchronous error; must not raise (nats-py's reader would end)."""
        self._last_error = str(error) or type(error).__name__
        subject = forbidden_subject(self._last_error)
        if subject is not None:
            self._denied.add(subject)
            self._listener.forbidden(subject, Forbidden(self._last_error))
        # A reload of the server ends a subscription that is no longer permitted, and does not make it again if it is:
        # what was an answer to us is heard by nobody. The next connection says whether it is permitted.
        unheard = unheard_subject(self._last_error)
        if unheard is not None and unheard.startswith(f"{self._inbox_prefix.lower()}."):
            self._has_ended(deaf(self._inbox_prefix))

    async def on_closed(self) -> None:
        """Take the end of the connection."""
        # An error sent just before the close (expired credentials, say) reaches us only here.
        self._has_ended(str(self._nc.last_error or self._last_error) or "the connection was closed")

    def _has_ended(self, reason: str) -> None:
        """Report the end, once, to whoever listens and whoever waits for it."""
        if self._closing or self._end.done():
            return
        self._listener.lost(reason)
        self._end.set_result(reason)


async def connect(options: NatsOptions, server: str, listener: Listener) -> Connection:
    """Connect to one server and listen on an inbox of this connection's own.

    Raises:
        BrokerError: It could not be reached, or let us not in.
    """
    client = Client()
    made: list[Connection] = []
    errors: list[str] = []

    async def on_error(error: Exception) -> None:
        errors.append(str(error) or type(error).__name__)
        if made:
            await made[0].on_error(error)

    async def on_closed() -> None:
        if made:
            await made[0].on_closed()

    try:
        async with asyncio.timeout(options.connect_timeout_s * 2):
            await client.open(options, server, on_error, on_closed)
            inbox = f"{client.new_inbox()}."
            connection = Connection(client, inbox, listener, functools.partial(limit_of, options, server))
            await client.hear(inbox, connection.on_stored, connection.on_answer)
            made.append(connection)
            # A round trip: the subscription stands, or its refusal was reported.
            # Twice, since nats-py writes a ping past what still waits in its buffer.
            await client.flush(math.ceil(options.connect_timeout_s))
            await client.flush(math.ceil(options.connect_timeout_s))
            check_heard(errors, options.inbox_prefix)
            heed_cancellation()
    except asyncio.CancelledError:
        await client.discard()
        raise
    except (NatsError, OSError, TimeoutError, credentials.IdentityError) as error:
        await client.discard()
        heed_cancellation()
        raise BrokerError(errors[-1] if errors else str(error) or type(error).__name__) from error
    return connection


def _nobody_listens(answer: Msg) -> bool:
    """Report whether this is the server's word that nobody listens on the subject of a message."""
    return not answer.data and (answer.headers or {}).get("Status") == "503"
