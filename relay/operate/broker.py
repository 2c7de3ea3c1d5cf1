"""One connection to NATS for a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.config.derived_options import nats_options
from relay.errors import Unreachable
from relay.jetstream.connection import Connection, connect
from relay.jetstream.errors import BrokerError, LookupRefused, RequestRefused
from relay.jetstream.listener import Listener

if TYPE_CHECKING:
    from relay.config.settings import Settings


@asynccontextmanager
async def broker(settings: "Settings", listener: Listener | None = None) -> AsyncIterator[Connection]:
    """Connect to the first server that lets us in; acknowledgements go to the listener.

    Raises:
        Unreachable: None of them did, the connection ended meanwhile, or NATS refused a question.
    """
    options = nats_options(settings)
    reasons = []
    for server in options.servers:
        try:
            connection = await connect(options, server, listener or Listener())
        except BrokerError as error:
            reasons.append(str(error))
            continue
        try:
            yield connection
        except (RequestRefused, LookupRefused) as error:
            raise Unreachable(f"NATS refuses: {error}") from error
        except BrokerError as error:
            raise Unreachable(f"NATS does not answer: {error}") from error
        finally:
            await connection.close()
        return
    raise Unreachable(f"NATS cannot be reached: {'; '.join(dict.fromkeys(reasons))}")
