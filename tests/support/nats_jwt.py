"""JSON web tokens as nsc makes them: an operator, accounts, and users that may expire."""

import base64
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

import nkeys

_UNLIMITED = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams"), -1
)


def _pair(prefix: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(issuer: Any, subject: Any, kind: str, claims: dict[str, Any], ends_at: float | None = None) -> str:
    now = int(time.time())
    body: dict[str, Any] = {
        "jti": _base64(os.urandom(20)),
        "iat": now,
        "iss": issuer.public_key.decode(),
        "name": kind,
        "sub": subject.public_key.decode(),
        "nats": {**claims, "type": kind, "version": 2},
    }
    if ends_at is not None:
        body["exp"] = int(ends_at)
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def user_nkey() -> tuple[str, str]:
    """Return the seed and the public key of a user that needs no token."""
    pair = _pair(nkeys.PREFIX_BYTE_USER)
    return pair.seed.decode(), pair.public_key.decode()


@dataclass
class Operator:
    """An operator with a system account and one account that may use JetStream."""

    _operator: Any = field(default_factory=lambda: _pair(nkeys.PREFIX_BYTE_OPERATOR))
    _system: Any = field(default_factory=lambda: _pair(nkeys.PREFIX_BYTE_ACCOUNT))
    _account: Any = field(default_factory=lambda: _pair(nkeys.PREFIX_BYTE_ACCOUNT))

    def server_config(self) -> str:
        """Return the configuration of a server that trusts this operator."""
        system, account = (one.public_key.decode() for one in (self._system, self._account))
        limits = {"limits": {**_UNLIMITED, "consumer": -1, "wildcards": True}}
        return f"""
            operator: {_token(self._operator, self._operator, "operator", {})}
            system_account: {system}
            resolver: MEMORY
            resolver_preload: {{
                {system}: {_token(self._operator, self._system, "account", {})}
                {account}: {_token(self._operator, self._account, "account", limits)}
            }}
        """

    def credentials(
        self, publish: list[str], subscribe: list[str], *, ends_at: float | None = None, seed: str | None = None
    ) -> str:
        """Make a user of the account and give its creds file, valid until `ends_at` (Unix seconds)."""
        user = _pair(nkeys.PREFIX_BYTE_USER) if seed is None else nkeys.from_seed(bytearray(seed.encode()))
        rights = {"pub": {"allow": publish}, "sub": {"allow": subscribe}, "subs": -1, "data": -1, "payload": -1}
        return (
            "-----BEGIN NATS USER JWT-----\n"
            f"{_token(self._account, user, 'user', rights, ends_at)}\n"
            "------END NATS USER JWT------\n\n"
            "************************* IMPORTANT *************************\n"
            "-----BEGIN USER NKEY SEED-----\n"
            f"{user.seed.decode()}\n"
            "------END USER NKEY SEED------\n"
        )
