"""The connections of the console: whoever says nothing, or half of something, keeps nobody else out."""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_CONNECTIONS = 200
# More than there are connections, so that only those count that are being answered.
_MOST_REQUESTS = 250
# For the whole of a request, head and body, from its first byte on.
_WHOLE_WITHIN_S = 20.0


class Connection(H11Protocol):
    """A connection on which a request has to arrive whole in time; the oldest silent one makes room for a new one."""

    _since = 0.0
    _deadline: asyncio.TimerHandle | None = None

    # uvicorn's own method takes a Transport, which is less than the protocol of asyncio promises to take; so must ours.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # see above
        """Wait for a request; make room if there are too many connections."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > _MOST_CONNECTIONS:
            silent = [one for one in self.connections if isinstance(one, Connection) and one._is_silent]
            if silent:
                min(silent, key=lambda one: one._since).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for another request, which may take its time to begin."""
        self._stop_watching()
        self._since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_watching()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; a request whose rest is none is cut off, since its page may be answering it."""
        if self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    @property
    def _is_silent(self) -> bool:
        """Whether a request, or the rest of one, is waited for."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _watch(self) -> None:
        if not self._is_silent:
            self._stop_watching()
        elif self._deadline is None:
            self._since = self.loop.time()
            self._deadline = self.loop.call_later(_WHOLE_WITHIN_S, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Limited:
    """Answers so many requests at once, and probes beside them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http" or str(scope["path"]).endswith("/healthz"):
            await self._app(scope, receive, send)
        elif self._busy >= _MOST_REQUESTS:
            await PlainTextResponse("too much at once\n", 503, {"connection": "close"})(scope, receive, send)
        else:
            self._busy += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._busy -= 1
