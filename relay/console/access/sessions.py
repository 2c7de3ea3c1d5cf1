"""Who has logged in: kept in memory, so that a restart ends every session."""

import hashlib
import secrets
import time
from dataclasses import dataclass

from relay.console.access.visitor import Visitor

_LAST_S = 12 * 3600.0
_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Session:
    visitor: Visitor
    proof: bytes
    until: float


class Sessions:
    """Opens and finds sessions by the text of their cookie, of which only a digest is kept."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Session] = {}

    def begin(self, visitor: Visitor, proof: str) -> str:
        """Open a session; return its cookie.

        Args:
            proof: The token or key that it was opened with: the session ends when that does.
        """
        now = time.monotonic()
        self._open = {key: one for key, one in self._open.items() if one.until > now}
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        self._open[_digest(cookie)] = _Session(visitor, _digest(proof), now + _LAST_S)
        return cookie

    def find(self, cookie: str, proof_of: dict[bool, str]) -> Visitor | None:
        """Return whose session it is, None if there is none, or what it was opened with holds no longer.

        Args:
            proof_of: The token or key of now, by whether it makes an operator.
        """
        session = self._open.get(_digest(cookie))
        if session is None or session.until <= time.monotonic():
            return None
        proof = proof_of.get(session.visitor.operator)
        return session.visitor if proof is not None and _digest(proof) == session.proof else None

    def end(self, cookie: str) -> None:
        """End a session; nothing happens if there is none."""
        self._open.pop(_digest(cookie), None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
