"""A certificate authority of the test's own, and PostgreSQL behind TLS."""

import asyncio
import shutil
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.support.tcp_server import TcpServer

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_LONG_AGO = datetime.now(UTC) - timedelta(days=9)
_YESTERDAY = datetime.now(UTC) - timedelta(days=1)
_SOON = datetime.now(UTC) + timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM files; issued again into the same files, they are renewed."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates that hold from last week to tomorrow, or to yesterday."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Identity:
        """Issue a certificate for a common name, with host names, or addresses of machines or of mail, beside it."""
        made = self._ca.issue_cert(
            *(hosts or ("client.example",)),
            common_name=name,
            not_before=_LONG_AGO,
            not_after=_YESTERDAY if expired else _SOON,
        )
        identity = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(identity.certificate)
        # libpq wants a key that nobody else can read.
        identity.key.touch(mode=0o600)
        made.private_key_pem.write_to_path(identity.key)
        return identity

    def trust(self, identity: Identity | None = None) -> ssl.SSLContext:
        """Make the context of a client of this authority."""
        context = ssl.create_default_context(cafile=self.file)
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that nobody else trusts."""
    directory = tmp_path / "tls"
    directory.mkdir()
    return Authority(directory)


class TlsFront:
    """The TLS of a PostgreSQL in front of one that has none: asks for a client's certificate and passes on the rest.

    Its files are read for each connection, so that they can be renewed.
    """

    def __init__(self, target: int, identity: Identity, clients: Path) -> None:
        self._target = target
        self._identity = identity
        self._clients = clients
        self._server = TcpServer(self._serve)
        self.port = self._server.port
        self.names: list[str] = []

    def start(self) -> None:
        """Take clients."""
        self._server.start()

    def stop(self) -> None:
        """Take no more clients and end those that are there."""
        self._server.stop()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: set[asyncio.StreamWriter]
    ) -> None:
        while struct.unpack("!ii", await reader.readexactly(8)) == (8, _GSS_REQUEST):
            writer.write(b"N")
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._context())
        subject = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
        self.names.append(subject["commonName"])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        opened.add(far_writer)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._clients)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._identity.certificate, self._identity.key)
        return context


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


MakeFront = Callable[[int, Identity, Path], TlsFront]


@pytest.fixture
def tls_front() -> Iterator[MakeFront]:
    """Make fronts: ``tls_front(port, identity, ca)``."""
    made: list[TlsFront] = []

    def make(target: int, identity: Identity, clients: Path) -> TlsFront:
        made.append(TlsFront(target, identity, clients))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def tls_postgres() -> Path | None:
    """Find the programs of a PostgreSQL that was built with OpenSSL; None if this machine has none."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (found := shutil.which("postgres")) is not None:
        installed.insert(0, Path(found).resolve().parent)
    for directory in installed:
        server = directory / "postgres"
        if server.exists() and (directory / "initdb").exists() and b"libssl" in server.read_bytes():
            return directory
    return None
