"""The connection to Redis, and the one script that everything goes through."""

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from relay import credentials
from relay.cancellation import honour_cancellation
from relay.projection.definition import Definition
from relay.projection.outcome import Unfit
from relay.projection.rules.refusals import MAX_EVENTS, MAX_KEYS, MAX_REASON, MAX_STREAK

_TIMEOUT_S = 10.0
_EVICTS = "allkeys"


class RedisFault(OSError):
    """Redis cannot be used now, or refuses; wait, and try again. A script that was sent may have been applied."""


class RedisUnfit(RedisFault, Unfit):
    """Redis cannot be used until somebody corrects a setting, a right or a handler."""


# Subclasses of what says that the connection is gone; the others are of commands.
_REFUSED_US = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


@cache
def script(name: str) -> str:
    """Read ``<name>.lua`` of this folder, once."""
    return Path(__file__).with_name(f"{name}.lua").read_text("utf-8")


def script_of(definition: Definition) -> str:
    """Return the script of a projection: the engine, with the limits and the handlers of its author in it."""
    handlers = [f"function(e, read, write)\n{handler.lua}\nend," for handler in definition.handlers]
    limits = (
        f"local MAX_KEYS, MAX_EVENTS, MAX_STREAK, MAX_REASON = {MAX_KEYS}, {MAX_EVENTS}, {MAX_STREAK}, {MAX_REASON}"
    )
    text = script("engine").replace("--LIMITS--", limits, 1)
    for part in ("commands", "batch"):
        text = text.replace(f"--{part.upper()}--", script(part), 1)
    return text.replace("--HANDLERS--", "\n".join(handlers), 1)


class Client:
    """A connection to one server; it connects with the first call.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; it may hold a password and is never logged.
        url_file: Holds it as well, and is read again at each connect.
    """

    def __init__(self, url: str, url_file: Path | None = None) -> None:
        self._url = url
        self._url_file = url_file
        self._redis: Redis | None = None

    async def call(self, *command: str | bytes | int | float) -> Any:
        """Send one command; return its answer, texts as bytes.

        Raises:
            RedisFault: It failed. Whether it was done is not known if the connection broke.
        """
        try:
            redis: Any = self._connected()  # the driver's own annotations leave this method out
            with honour_cancellation():
                return await redis.execute_command(*command)
        except _REFUSED_US as error:
            raise RedisUnfit(f"Redis: {_text(error)}") from error
        except exceptions.RedisError as error:
            raise RedisFault(f"Redis: {_text(error)}") from error
        except credentials.IdentityError as error:
            raise RedisFault(f"Redis: {error}") from error
        except ValueError:
            # The driver's own text would repeat the address, password and all.
            raise RedisUnfit("Redis: the address is no URL such as redis://host:6379/0") from None

    async def run(self, script: str, prefix: str, *args: str | bytes | int | float) -> Any:
        """Run a script under a prefix of keys; return its answer.

        Raises:
            RedisFault: It failed, and has changed nothing unless the connection broke.
        """
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self.call("EVALSHA", digest, 1, prefix, *args)
        except RedisFault as error:
            if not isinstance(error.__cause__, exceptions.NoScriptError):
                raise
        return await self.call("EVAL", script, 1, prefix, *args)

    async def hash(self, key: str) -> dict[bytes, bytes]:
        """Return a hash; empty if it is not there.

        Raises:
            RedisFault: It failed.
        """
        return dict(await self.call("HGETALL", key))

    async def check_keeps(self) -> None:
        """Check that the server keeps what it was given until it is told otherwise.

        Raises:
            RedisUnfit: It may evict any key when it is short of memory, the position among them.
        """
        policy = dict(await self.call("INFO", "memory")).get("maxmemory_policy", "")
        if str(policy).startswith(_EVICTS):
            raise RedisUnfit(f"Redis: its maxmemory-policy is {policy}: it would drop keys of a read model unseen")

    async def close(self) -> None:
        """Close the connection; the next call would open one."""
        redis, self._redis = self._redis, None
        if redis is not None:
            with suppress(exceptions.RedisError, OSError):
                await redis.aclose()

    def _connected(self) -> Redis:
        if self._redis is None:
            url = self._url if self._url_file is None else credentials.secret(self._url_file)
            self._redis = Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                # Whoever waits tries again, and asks first how far it is.
                retry=Retry(NoBackoff(), 0),
                client_name="outbox-relay",
                single_connection_client=True,
            )
        return self._redis


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
