"""nats-py's client as the relay uses it: who we are, TLS that is insisted on, and a short way for each event.

Its own reconnection is switched off, for the reasons that `relay.jetstream.connection` gives.
"""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import ParseResult, unquote, urlsplit

import nats.aio.client
import nats.errors
from nats.aio.client import DEFAULT_BUFFER_SIZE, RawCredentials, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from relay import credentials
from relay.jetstream.acknowledgements import Acknowledgements, Stored
from relay.rules.failure.refused_right import unheard_subject

_PENDING_BYTES = 4 * 1024 * 1024
_AT_ONCE_BYTES = 16 * 1024
_CLOSE_S = 1.0

RawListener = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply subject, body and the block of the headers of a message."""


class Inbox(NamedTuple):
    """A subject that only one connection hears, and the subscription to it."""

    subject: str
    subscription: Subscription


@dataclass(frozen=True)
class NatsOptions:
    """How to connect; the fields follow the ``[nats]`` section. Secrets never show in its representation.

    Files are read again at each connect, and replace the value of the same name.

    Attributes:
        servers: URLs, tried in turn.
        connect_timeout_s: Seconds for one try.
        ping_interval_s: Seconds; a frozen server is noticed after two unanswered pings.
    """

    servers: Sequence[str] = field(repr=False)
    name: str = "outbox-relay"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    nkey_seed_file: Path | None = None
    creds_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_first: bool = False
    inbox_prefix: str = "_INBOX_relay"
    connect_timeout_s: float = 3.0
    ping_interval_s: float = 2.0

    def insists_on_tls(self, server: str) -> bool:
        """Report whether nothing may be sent to a server in the clear: its URL or any TLS setting says so."""
        return (
            server.startswith("tls://")
            or self.tls_first
            or any(file is not None for file in (self.tls_ca_file, self.tls_cert_file))
        )


class _Parser(Parser):
    """nats-py's parser, which is handed what does not begin with acknowledgements of single events."""

    def __init__(self, client: "Client") -> None:
        super().__init__(client)
        self._acknowledgements: Acknowledgements | None = None
        self._on_stored: Callable[[list[Stored]], None] = _unread

    def hear(self, acknowledgements: Acknowledgements, on_stored: Callable[[list[Stored]], None]) -> None:
        """Hand over the acknowledgements of each read together from now on; `on_stored` must not raise."""
        self._acknowledgements = acknowledgements
        self._on_stored = on_stored

    async def parse(self, data: bytes = b"") -> None:
        """Take what was read."""
        if self._acknowledgements is not None and self.state == AWAITING_CONTROL_LINE:
            stored, data, is_incomplete = self._acknowledgements.read(bytes(self.buf) + data)
            self.buf.clear()
            if stored:
                self._on_stored(stored)
            if is_incomplete:
                # Once the parser has begun with a message it takes it to its end, and all that follows.
                self.buf.extend(data)
                return
        await super().parse(data)


class _Transport(TcpTransport):
    """nats-py's transport, for names with several addresses.

    Its own waits for the first address until the time is over: that may be of a node that has just died, and is silent.
    """

    def __init__(self) -> None:
        self._bare_io_reader = self._io_reader = None
        self._bare_io_writer = self._io_writer = None

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect to the first address that answers in its share of the time."""
        async with asyncio.timeout(connect_timeout):
            reader, writer = await _first_connection(await _addresses(uri), buffer_size, connect_timeout)
        self._bare_io_reader, self._bare_io_writer = self._io_reader, self._io_writer = reader, writer


async def _addresses(uri: ParseResult) -> list[tuple[str, int]]:
    found = await asyncio.get_running_loop().getaddrinfo(uri.hostname, uri.port, type=socket.SOCK_STREAM)
    return [(str(address[0]), int(address[1])) for *_, address in found]


async def _first_connection(
    addresses: Sequence[tuple[str, int]], buffer_size: int, within_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to the first of some addresses, at least one, that takes us.

    Not by asyncio's race of them, which leaves a socket open if it is cancelled as it ends.

    Raises:
        OSError: The last one did not.
    """
    *others, last = addresses
    for address in others:
        with suppress(OSError):  # a timeout is one
            async with asyncio.timeout(within_s / len(addresses)):
                return await asyncio.open_connection(*address, limit=buffer_size)
    return await asyncio.open_connection(*last, limit=buffer_size)


class Client(nats.aio.client.Client):
    """nats-py's client, and what it does not offer.

    It sends messages that are encoded already, it hands acknowledgements on as they are read, and it gives its secrets
    to nobody in the clear if TLS is asked for: nats-py takes the server's word for whether there is TLS at all, even
    for tls:// and with a CA of one's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._insist_on_tls = False
        self._secured = False
        self._begun = False
        self._is_discarded = False
        self._parser = self._ps = _Parser(self)
        self._listeners: dict[int, RawListener] = {}
        self.encrypted = False
        # The JetStream domain of the server; empty without one.
        self.domain = ""

    async def open(
        self,
        options: NatsOptions,
        server: str,
        on_error: Callable[[Exception], Awaitable[None]],
        on_closed: Callable[[], Awaitable[None]],
    ) -> None:
        """Connect to one server, once; what the files say now is who we are.

        Raises:
            NatsError: It rejected us, or has no TLS and we insist on it.
            IdentityError: A file of ours cannot be used; nothing was sent.
            OSError: It could not be reached, or TLS failed.
        """
        self._insist_on_tls = options.insists_on_tls(server)
        credentials = _credentials(options, server)
        self._begun = True
        await self.connect(
            servers=[server],
            name=options.name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,  # else a refused connection is waited over for 2 s before it is told
            connect_timeout=math.ceil(options.connect_timeout_s),
            ping_interval=math.ceil(options.ping_interval_s),
            max_outstanding_pings=2,
            pending_size=_PENDING_BYTES,
            # Every subject was checked by stricter rules (relay.rules.sending.envelopes): twice is 4 % of a drain.
            skip_subject_validation=True,
            inbox_prefix=options.inbox_prefix,
            error_cb=on_error,
            closed_cb=on_closed,
            **credentials,
        )
        if self._insist_on_tls and not self._secured:
            raise NatsError("nats-py did not say whether there is TLS")

    async def _connect_to_server(self, s: Srv) -> None:
        if s.uri.scheme not in ("nats", "tls"):
            await super()._connect_to_server(s)
            return
        self._transport = _Transport()
        await self._transport.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._insist_on_tls:
            if not (info.get("tls_required") or info.get("tls_available")):
                raise NatsError("the server offers no TLS, and the configuration asks for it; nothing was sent")
            # nats-py itself looks into this dictionary: it begins with TLS if it finds this.
            info["tls_required"] = True
            self._secured = True
        if initial_connection:
            self.encrypted = bool(info.get("tls_required"))
            self.domain = info.get("domain", "")
        await super()._process_info(info, initial_connection)

    async def send(self, frames: bytes) -> None:
        """Send encoded messages, as `Client.publish` sends one: by way of its buffer and its flusher.

        A few go to the socket at once, since the flusher takes another turn of the loop. If the socket takes nothing,
        the window of events that may be unanswered bounds them.

        Raises:
            ConnectionClosedError: The connection has ended.
        """
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        if len(frames) <= _AT_ONCE_BYTES and not self.pending_data_size and self._transport is not None:
            self._transport.write(frames)
            return
        await self._send_command(frames)
        await self._flush_pending()

    async def hear(
        self, inbox: str, on_stored: Callable[[list[Stored]], None], otherwise: Callable[[Msg], Awaitable[None]]
    ) -> None:
        """Subscribe to an inbox on which a message comes for each event.

        Args:
            inbox: What its subjects begin with; one more part follows.
            on_stored: Called with the usual acknowledgements of single events as they are read, many at a time.
                Must not raise: nats-py's reader would end.
            otherwise: Called with every other message, by way of nats-py's queue and task for the subscription.
        """
        subscription = await self.subscribe(f"{inbox}*", cb=otherwise)
        self._parser.hear(Acknowledgements(inbox, subscription._id), on_stored)

    async def listen(self, subject: str, take: RawListener) -> Subscription:
        """Subscribe to a subject, and hand over each message as it is read, without nats-py's queue and task.

        Args:
            take: Called with subject, reply subject, body and the block of the headers. Must not raise.
        """
        subscription = await self.subscribe(subject, cb=_unheard)
        self._listeners[subscription._id] = take
        return subscription

    async def stop_listening(self, subscription: Subscription) -> None:
        """End what `listen` began.

        Raises:
            NatsError: The connection has ended.
        """
        self._listeners.pop(subscription._id, None)
        await subscription.unsubscribe()

    async def _process_pong(self) -> None:
        """Pass over the ping of somebody who waits no more: nats-py's reader ends at it, and leaves us deaf."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Spare a message that `listen` waits for the message object, the queue and the task of nats-py."""
        if self._listeners and (take := self._listeners.get(sid)) is not None:
            # nats-py hands in None for a message without headers.
            take(subject, reply, data, headers or b"")
            return
        await super()._process_msg(sid, subject, reply, data, headers)

    def ping_each(self, interval_s: float) -> None:
        """Ping at this interval from the next ping on, seconds."""
        self.options["ping_interval"] = math.ceil(interval_s)

    def max_payload_is(self, limit: int) -> None:
        """Take the limit of a message that another connection was told, bytes."""
        self._max_payload = limit

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Write nothing more if it is not we who close.

        nats-py would write what waits, and wait for that: if the server is frozen for ever, and if it is gone that
        raises in one of its own tasks. Either way nobody is told of the end.
        """
        if not self._is_discarded:
            self._pending, self._pending_data_size = [], 0
            self._abort()
        await super()._close(status, do_cbs)

    def _abort(self) -> None:
        if isinstance(self._transport, TcpTransport) and self._transport._io_writer is not None:
            self._transport._io_writer.transport.abort()

    async def discard(self) -> None:
        """Close it, and wait a second at most: after a failed TLS handshake nats-py would wait for ever."""
        if not self._begun:
            return
        self._is_discarded = True
        try:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSE_S):
                    await self.close()
        finally:
            self._abort()


async def limit_of(options: NatsOptions, server: str) -> int | None:
    """Return the largest message that a server takes from this account now, bytes; None if it does not say."""

    async def pass_over(*_: Exception) -> None:
        pass

    client = Client()
    try:
        async with asyncio.timeout(options.connect_timeout_s * 2):
            await client.open(options, server, pass_over, pass_over)
            # The limit of the account comes after the server's own, and before the answer to this.
            await client.flush(math.ceil(options.connect_timeout_s))
            await client.flush(math.ceil(options.connect_timeout_s))
            return client.max_payload
    except (NatsError, OSError, TimeoutError, credentials.IdentityError):
        return None
    finally:
        await client.discard()


def _unread(stored: list[Stored]) -> None:
    """Take nothing: no inbox is heard yet."""


async def _unheard(msg: Msg) -> None:
    """Take nothing: what `Client.listen` hears never comes here."""


def check_heard(errors: list[str], prefix: str) -> None:
    """Find out that the inbox is not permitted: else no acknowledgement would ever come.

    Raises:
        NatsError: It is not.
    """
    if any(unheard_subject(said) is not None for said in errors):
        errors.append(deaf(prefix))
        raise NatsError(errors[-1])


def deaf(prefix: str) -> str:
    """Return the fault of an inbox that may not be heard, without its name: that is another one at each try."""
    return f"no permission to subscribe to {prefix}.>: acknowledgements could not be heard"


def url_credentials(server: str) -> dict[str, str]:
    """Return user and password, or the token, of a server's URL as they are; nats-py would send them encoded."""
    parts = urlsplit(server)
    if parts.username is None:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}


def _credentials(options: NatsOptions, server: str) -> dict[str, Any]:
    given: dict[str, Any] = {"user": options.user, "password": options.password, "token": options.token}
    if options.user is None and options.token is None and options.token_file is None:
        given |= url_credentials(server)
    if options.password_file is not None:
        given["password"] = credentials.secret(options.password_file)
    if options.token_file is not None:
        given["token"] = credentials.secret(options.token_file)
    if options.nkey_seed_file is not None:
        given["nkeys_seed_str"] = credentials.seed(options.nkey_seed_file)
    if options.creds_file is not None:
        given["user_credentials"] = RawCredentials(credentials.credentials(options.creds_file))
    if options.insists_on_tls(server):
        given["tls"] = credentials.tls_context(options.tls_ca_file, options.tls_cert_file, options.tls_key_file)
        given["tls_handshake_first"] = options.tls_first
    return {name: value for name, value in given.items() if value is not None}
