"""Find out who a request comes from: by the link's key, a token, or what a proxy says."""

import asyncio
import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relay.console.access.proxied import is_secret, is_trusted, named_visitor
from relay.console.access.sessions import Sessions
from relay.console.access.visitor import Visitor
from relay.credentials import IdentityError, secret

if TYPE_CHECKING:
    from relay.config.console_section import ConsoleSection

# In which a proxy shows `proxy_secret_file`.
_PROOF_HEADER = "x-proxy-secret"
# What a wrong token costs, and how many wrong ones may wait at once.
_WRONG_S = 1.0
_MOST_WRONG = 10


class TooManyAttempts(Exception):
    """Too many wrong tokens are being refused at this moment; nothing was compared."""


class Entry:
    """Decides who a request comes from.

    Attributes:
        key: What the printed link carries, with ``auth = "link"``.
    """

    def __init__(self, section: "ConsoleSection", owner: str) -> None:
        """Prepare; `owner` is who runs the console, as which the link lets in."""
        self.key = secrets.token_urlsafe(32)
        self._section = section
        self._owner = owner
        self._sessions = Sessions()
        self._refusing = 0

    @property
    def has_login(self) -> bool:
        """Whether a form asks for a token."""
        return self._section.auth == "token"

    def visitor(self, peer: str, headers: Mapping[str, Sequence[str]], cookie: str | None) -> Visitor | None:
        """Return who a request comes from without a token of its own, None if nobody is known.

        Args:
            peer: The address of the other end of the connection.
            headers: Lower-case names with every value that was sent.
            cookie: Of the session.
        """
        section = self._section
        if section.auth != "proxy":
            return None if cookie is None else self._sessions.find(cookie, self._proofs())
        if not is_trusted(peer, section.trusted_proxies):
            return None
        if section.proxy_secret_file:
            try:
                expected = secret(Path(section.proxy_secret_file))
            except IdentityError:
                return None
            if not is_secret(headers.get(_PROOF_HEADER, ()), expected):
                return None
        return named_visitor(headers, section.user_header, section.groups_header, section.operators)

    async def log_in(self, given: str) -> str | None:
        """Return the cookie of a new session for a key or token, None if it is wrong.

        Raises:
            TooManyAttempts: Others are being refused at this moment.
        """
        found = await self.bearer(given)
        return None if found is None else self._sessions.begin(found, given)

    async def bearer(self, given: str) -> Visitor | None:
        """Return who a key or token stands for, None if it is wrong; that takes a second.

        Raises:
            TooManyAttempts: Others are being refused at this moment.
        """
        if self._refusing >= _MOST_WRONG:
            raise TooManyAttempts
        for operator, proof in self._proofs().items():
            if hmac.compare_digest(given.encode(), proof.encode()):
                return Visitor(self._name(operator=operator), operator)
        self._refusing += 1
        try:
            await asyncio.sleep(_WRONG_S)
        finally:
            self._refusing -= 1
        return None

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self._sessions.end(cookie)

    def _name(self, *, operator: bool) -> str:
        if self._section.auth == "link":
            return self._owner
        return "operator" if operator else "reader"

    def _proofs(self) -> dict[bool, str]:
        """Return what lets in now, by whether it makes an operator; files are read again each time."""
        section = self._section
        if section.auth == "link":
            return {section.write: self.key}
        proofs = {}
        if section.auth == "token":
            for operator, path in ((False, section.reader_token_file), (True, section.operator_token_file)):
                if path:
                    try:
                        proofs[operator] = secret(Path(path))
                    except IdentityError:
                        continue
        return proofs
