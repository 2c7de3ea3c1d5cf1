"""Prove to other relays of this machine that this one lives, and see which of them have ended.

A relay binds an abstract Unix socket under its own name before it takes its first lease, and never closes it. The
kernel frees the name when the process is gone, however it ended, and not before. So a name that nobody holds, in the
place where it was held, is of a relay that has ended (docs/design/decisions/0015-who-is-provably-dead.md).
"""

import os
import re
import socket
import sys
import uuid
from collections.abc import Iterable
from hashlib import blake2s
from pathlib import Path

from relay.rules.replicas.relay_names import Member, neighbours

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/net")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Presence:
    """The name of this process, held until it ends.

    Args:
        settings: What the name says of the settings; None: nothing.
        allow_nats: Which headers that control the server this relay lets through; told with each beat.

    Attributes:
        member: The name. It has no place if the kernel offers no such proof: then leases are waited for.
        allow_nats: In lower case.
        notes: What the relay works in spite of, a line for each; told with each beat.
    """

    def __init__(self, settings: str | None = None, allow_nats: Iterable[str] = ()) -> None:
        place = _place()
        member = Member(socket.gethostname(), os.getpid(), uuid.uuid4().hex[:8], place, settings)
        if place is not None and not _hold(str(member)):
            member = member._replace(place=None)
        self.member = member
        self.notes = ""
        self.allow_nats = tuple(name.lower() for name in allow_nats)

    def say(self, notes: Iterable[str]) -> None:
        """Have the next beats report what the relay works in spite of."""
        self.notes = "\n".join(notes)

    def ended(self, names: Iterable[str]) -> list[str]:
        """Return those of some relays that have provably ended. Of any other nothing is known."""
        return [name for name in neighbours(self.member, names) if _is_free(name)]


def _place() -> str | None:
    """Name this network namespace of this boot; None if the kernel does not tell."""
    if sys.platform != "linux":
        return None
    try:
        boot = _BOOT.read_text("ascii").strip()
        namespace = _NAMESPACE.readlink()
    except (OSError, UnicodeDecodeError):
        return None
    if not _UUID.fullmatch(boot) or not boot.strip("0-"):
        return None
    return blake2s(f"{boot}/{namespace}".encode(), digest_size=8).hexdigest()


def _hold(name: str) -> bool:
    """Hold a name until this process ends; report whether that was possible."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind(_address(name))
    except OSError:
        held.close()
        return False
    # Nobody can close what nobody refers to: only the kernel does, when the process has ended. It is not inherited by
    # programs that we start.
    held.detach()
    return True


def _is_free(name: str) -> bool:
    """Report whether nobody holds a name. What cannot be found out is not free."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.bind(_address(name))
        except OSError:
            return False
    return True


def _address(name: str) -> bytes:
    """Return the abstract address of a name, which may be longer than an address."""
    return b"\0outbox-relay/" + blake2s(name.encode(), digest_size=16).hexdigest().encode()
