"""What a connection to NATS raises."""

from collections.abc import Mapping
from typing import Any

from relay.errors import Exit, RelayError

NO_SUCH_STREAM = 10059
"""JetStream's code for a stream that does not exist, or that this account does not see."""


def in_words(error: Mapping[str, Any]) -> str:
    """Return what JetStream answered instead of doing what it was asked: its description and its code."""
    return f"{error.get('description')} ({error.get('err_code')})"


class BrokerError(RelayError):
    """NATS could not be reached, or did not answer a question. What was in flight is unknown."""

    exit_code = Exit.UNREACHABLE


class RequestRefused(BrokerError):
    """The server has answered a question with an error. It did nothing."""


class LookupForbidden(BrokerError):
    """This account may not ask about streams, or nobody answers such questions."""


class LookupRefused(LookupForbidden):
    """The server has said that this account has no right to the question."""
