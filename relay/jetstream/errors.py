"""What a connection to NATS raises."""

from relay.errors import Exit, RelayError


class BrokerError(RelayError):
    """NATS could not be reached, or did not answer a question. What was in flight is unknown."""

    exit_code = Exit.UNREACHABLE


class LookupForbidden(BrokerError):
    """This account may not ask about streams, or nobody answers such questions."""


class LookupRefused(LookupForbidden):
    """The server has said that this account has no right to the question."""
