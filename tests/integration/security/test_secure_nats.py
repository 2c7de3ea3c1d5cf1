"""TLS and identities of NATS: each way in works with the least rights; what is wrong is told and waited for."""

import asyncio
import json
import os
import re
import signal
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.demo.servers import NatsServer, free_port
from tests.support.fix_relay import MakeRelay, Outbox, Relay, holds_for, wait_until
from tests.support.fix_rights import documented_permissions
from tests.support.fix_stream import RELOADS, Streams, own_server_needs
from tests.support.fix_tls import Authority, Identity
from tests.support.nats_jwt import Operator, user_nkey
from tests.support.tcp_server import TcpServer

SECRET = "tell-nobody"
RIGHTS = documented_permissions("orders.>")


def accounts(user: str) -> str:
    """Write a server's users: an administrator, and the relay's as given, with the least rights."""
    return f"""
        accounts {{ A {{ jetstream: enabled, users: [
            {{ user: admin, password: admin }}
            {{ {user}, permissions: {RIGHTS} }}
        ] }} }}
    """


def tls(server: Identity, *, clients: Authority | None = None, first: bool = False, http: int | None = None) -> str:
    """Write a server's TLS."""
    verify = "" if clients is None else f'ca_file: "{clients.file}", verify: true,'
    handshake = "handshake_first: true," if first else ""
    monitor = "" if http is None else f'http: "127.0.0.1:{http}"'
    return f"""
        tls {{ cert_file: "{server.certificate}", key_file: "{server.key}", {verify} {handshake} timeout: 5 }}
        {monitor}
    """


@contextmanager
def serving(directory: Path, config: str) -> Iterator[NatsServer]:
    """Run a server that denies nobody anything."""
    with NatsServer(directory / "nats", config=config) as server:
        yield server
    assert "iolation" not in server.log.read_text("utf-8")


def reload(server: NatsServer, config: str) -> None:
    """Change the configuration of a server while it runs."""
    server.config = config
    (server.directory / "nats.conf").write_text(config, "utf-8")
    os.kill(server.pid, signal.SIGHUP)


def delivers(outbox: Outbox, relay: Relay) -> None:
    """See one more event through."""
    outbox.delivered(outbox.insert("orders.placed", "k", {"i": 0}))
    wait_until("it is ready", lambda: relay.get("/readyz") == (200, "ready: active\n"))


def refused(relay: Relay, text: str) -> None:
    """See that the relay tells a reason in one line, once, and does not end."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in relay.lines() if text in str(line.get("reason"))]

    wait_until(f"it tells: {text}\n{relay.text()}", lines)
    holds_for(1, "one line, however often it tries", lambda: len(lines()) == 1)
    assert relay.get("/healthz")[0] == 200
    wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503)


# user and password, token, nkey: the identities that are written down on the server


def identity(way: str, directory: Path) -> tuple[str, dict[str, str]]:
    """Return how the server knows the relay, and how the relay shows who it is: by value or from a file."""
    secret = directory / "secret"
    secret.write_text(f"{SECRET}\n", "utf-8")
    if way == "nkey":
        seed, public = user_nkey()
        secret.write_text(f"{seed}\n", "utf-8")
        return f"nkey: {public}", {"nats__nkey_seed_file": str(secret)}
    by_value = {"nats__user": "relay", "nats__password": SECRET}
    by_file = {"nats__user": "relay", "nats__password_file": str(secret)}
    return f"user: relay, password: {SECRET}", by_file if way == "password_file" else by_value


@pytest.mark.parametrize("way", ["password", "password_file", "nkey"])
def test_each_identity_suffices_with_the_least_rights(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay, way: str
) -> None:
    user, settings = identity(way, tmp_path)
    with serving(tmp_path, accounts(user)) as server:
        Streams(server.url, user="admin", password="admin").make("ORDERS", "orders.>", allow_atomic=True)
        relay = make_relay(outbox.dsn, server.url, **settings).start()
        delivers(outbox, relay)
        assert relay.stop() == 0
        assert SECRET not in relay.text()


@pytest.mark.parametrize("from_file", [False, True])
def test_a_token_suffices(outbox: Outbox, tmp_path: Path, make_relay: MakeRelay, from_file: bool) -> None:
    file = tmp_path / "token"
    file.write_text(SECRET, "utf-8")
    settings = {"nats__token_file": str(file)} if from_file else {"nats__token": SECRET}
    with serving(tmp_path, f'authorization {{ token: "{SECRET}" }}') as server:
        Streams(server.url, token=SECRET).make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, **settings).start()
        delivers(outbox, relay)
        assert SECRET not in relay.text()


def test_a_password_that_is_renewed_on_both_sides_is_taken_up_while_running(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay
) -> None:
    own_server_needs(2, 10, why=RELOADS)
    user, settings = identity("password_file", tmp_path)
    with NatsServer(tmp_path / "nats", config=accounts(user)) as server:
        Streams(server.url, user="admin", password="admin").make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, **settings).start()
        delivers(outbox, relay)
        reload(server, accounts("user: relay, password: another-one"))
        refused(relay, "Authorization Violation")
        (tmp_path / "secret").write_text("another-one\n", "utf-8")
        delivers(outbox, relay)
        assert "another-one" not in relay.text()


# creds files


def creds(operator: Operator, **how: Any) -> str:
    """Make a creds file of the documented rights."""
    lists = re.findall(r"(publish|subscribe): (\[.*?\])", re.sub(r"#.*", "", RIGHTS), re.DOTALL)
    allowed = {name: re.findall(r'"([^"]+)"', text) for name, text in lists}
    return operator.credentials(allowed["publish"], allowed["subscribe"], **how)


def write_whole(file: Path, text: str) -> None:
    """Put a new version of a file in its place at once."""
    beside = file.with_suffix(".new")
    beside.write_text(text, "utf-8")
    beside.rename(file)


def test_creds_that_run_out_are_told_and_renewed_ones_taken_up_while_running(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay
) -> None:
    operator = Operator()
    admin, file = tmp_path / "admin.creds", tmp_path / "relay.creds"
    admin.write_text(operator.credentials([">"], [">"]), "utf-8")
    write_whole(file, creds(operator, ends_at=time.time() + 4))
    with serving(tmp_path, operator.server_config()) as server:
        Streams(server.url, user_credentials=str(admin)).make("ORDERS", "orders.>")
        relay = make_relay(outbox.dsn, server.url, nats__creds_file=str(file)).start()
        delivers(outbox, relay)
        lost = relay.said("nats.lost")
        assert "expired" in lost["reason"].lower()
        # Nothing hangs or ends on a file that is not whole.
        whole = creds(operator)
        write_whole(file, whole[: len(whole) // 2])
        refused(relay, "no whole creds file")
        write_whole(file, whole)
        delivers(outbox, relay)
        for secret in re.findall(r"^(?:SU|ey)\S+", whole, re.MULTILINE):
            assert secret not in relay.text()


# TLS


@pytest.mark.parametrize("how", ["tls", "mutual", "first", "offered"])
def test_the_servers_name_is_verified_and_everything_is_encrypted(
    outbox: Outbox, tmp_path: Path, authority: Authority, make_relay: MakeRelay, how: str
) -> None:
    http = free_port()
    server_identity, client = authority.issue("server", "localhost"), authority.issue("relay")
    config = tls(server_identity, clients=authority if how == "mutual" else None, first=how == "first", http=http)
    if how == "offered":
        config += "allow_non_tls: true"
    settings = {"nats__tls_ca_file": str(authority.file), "nats__user": "relay", "nats__password": SECRET}
    if how == "mutual":
        settings |= {"nats__tls_cert_file": str(client.certificate), "nats__tls_key_file": str(client.key)}
    if how == "first":
        own_server_needs(2, 10, why="handshake_first")
        settings["nats__tls_first"] = "true"
    with serving(tmp_path, config + accounts(f"user: relay, password: {SECRET}")) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        trust = authority.trust(client)
        Streams(url, user="admin", password="admin", tls=trust, tls_handshake_first=how == "first").make(
            "ORDERS", "orders.>"
        )
        relay = make_relay(outbox.dsn, url, **settings).start()
        delivers(outbox, relay)
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/connz", timeout=5) as answer:
            (connection,) = [one for one in json.load(answer)["connections"] if one["name"] == "outbox-relay"]
        assert connection["tls_version"].startswith("1.")


def test_a_certificate_alone_can_say_who_we_are(
    outbox: Outbox, tmp_path: Path, authority: Authority, make_relay: MakeRelay
) -> None:
    server_identity = authority.issue("server", "localhost")
    relays, admins = authority.issue("relay", "relay@shop.example"), authority.issue("admin", "admin@shop.example")
    config = f"""
        tls {{ cert_file: "{server_identity.certificate}", key_file: "{server_identity.key}",
               ca_file: "{authority.file}", verify_and_map: true }}
        accounts {{ A {{ jetstream: enabled, users: [
            {{ user: "admin@shop.example" }}, {{ user: "relay@shop.example", permissions: {RIGHTS} }}
        ] }} }}
    """
    with serving(tmp_path, config) as server:
        url = server.url.replace("nats://127.0.0.1", "tls://localhost")
        Streams(url, tls=authority.trust(admins)).make("ORDERS", "orders.>")
        relay = make_relay(
            outbox.dsn,
            url,
            nats__user="",
            nats__tls_ca_file=str(authority.file),
            nats__tls_cert_file=str(relays.certificate),
            nats__tls_key_file=str(relays.key),
        ).start()
        delivers(outbox, relay)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("expired server", "certificate has expired"),
        ("another host", "not valid for 'localhost'"),
        ("unknown authority", "CERTIFICATE_VERIFY_FAILED"),
        ("expired client", "expired"),
        ("half a key", "cannot use the certificate"),
        ("no client certificate", "certificate required"),
    ],
)
def test_bad_tls_is_told_in_a_line_and_the_relay_works_when_it_is_put_right(
    outbox: Outbox, tmp_path: Path, authority: Authority, make_relay: MakeRelay, fault: str, told: str
) -> None:
    own_server_needs(2, 10, why=RELOADS)
    client = authority.issue("relay", expired=fault == "expired client")
    match fault:
        case "expired server":
            server_identity = authority.issue("server", "localhost", expired=True)
        case "another host":
            server_identity = authority.issue("server", "elsewhere.example")
        case "unknown authority":
            (tmp_path / "stranger").mkdir()
            server_identity = Authority(tmp_path / "stranger").issue("server", "localhost")
        case _:
            server_identity = authority.issue("server", "localhost")
    if fault == "half a key":
        key = client.key.read_text("utf-8")
        client.key.write_text(key[: len(key) // 2], "utf-8")
    settings = {"nats__tls_ca_file": str(authority.file), "nats__user": "relay", "nats__password": SECRET}
    if fault != "no client certificate":
        settings |= {"nats__tls_cert_file": str(client.certificate), "nats__tls_key_file": str(client.key)}
    users = accounts(f"user: relay, password: {SECRET}")
    with NatsServer(tmp_path / "nats", config=tls(server_identity, clients=authority) + users) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        relay = make_relay(outbox.dsn, url, **settings).start()
        refused(relay, told)
        good = authority.issue("server", "localhost")
        authority.issue("relay")
        reload(server, tls(good, clients=None if fault == "no client certificate" else authority) + users)
        admin = authority.issue("admin")

        def made() -> bool:
            try:
                Streams(url, user="admin", password="admin", tls=authority.trust(admin)).make("ORDERS", "orders.>")
            except (ssl.SSLError, TimeoutError):
                return False
            return True

        wait_until("the server has its new certificate", made, timeout_s=60)
        delivers(outbox, relay)


class Eavesdropper:
    """A server on the way that says there is no TLS, and writes down what it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.asked = 0
        self._server = TcpServer(self._serve)
        self.port = self._server.port

    def __enter__(self) -> "Eavesdropper":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _opened: set[asyncio.StreamWriter]
    ) -> None:
        self.asked += 1
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","headers":true,"max_payload":1048576}\r\n')
        self.heard += await reader.read(1000)


@pytest.mark.parametrize("by", ["scheme", "ca"])
def test_no_secret_is_told_to_a_server_that_says_it_has_no_tls(
    outbox: Outbox, authority: Authority, make_relay: MakeRelay, by: str
) -> None:
    settings = {} if by == "scheme" else {"nats__tls_ca_file": str(authority.file)}
    with Eavesdropper() as server:
        url = f"{'tls' if by == 'scheme' else 'nats'}://localhost:{server.port}"
        relay = make_relay(outbox.dsn, url, nats__user="relay", nats__password=SECRET, **settings).start()
        refused(relay, "offers no TLS")
        wait_until("it has tried more than once", lambda: server.asked > 1)
    assert server.heard == b""


@pytest.mark.denials
def test_an_inbox_that_may_not_be_heard_is_told_before_anything_is_sent(
    outbox: Outbox, own_nats: NatsServer, make_relay: MakeRelay
) -> None:
    Streams(own_nats.url).make("ORDERS", "orders.>")
    relay = make_relay(outbox.dsn, own_nats.url, nats__inbox_prefix="_INBOX_another").start()
    outbox.insert("orders.placed", "k", {"i": 0})
    refused(relay, "no permission to subscribe to _INBOX_another.>")
    assert Streams(own_nats.url).messages("ORDERS") == 0


def test_an_inbox_that_is_taken_away_while_running_is_told_and_heard_again(
    outbox: Outbox, tmp_path: Path, make_relay: MakeRelay
) -> None:
    own_server_needs(2, 10, why=RELOADS)
    user, settings = identity("password", tmp_path)
    config = accounts(user)
    assert '"_INBOX_relay.>"' in config
    with NatsServer(tmp_path / "nats", config=config) as server:
        streams = Streams(server.url, user="admin", password="admin")
        # Shorter than it takes until the inbox is heard again: what is in doubt has to be looked for.
        streams.make("ORDERS", "orders.>", duplicate_window=1_000_000_000)
        relay = make_relay(outbox.dsn, server.url, **settings).start()
        delivers(outbox, relay)
        reload(server, config.replace('"_INBOX_relay.>"', '"_INBOX_another.>"'))
        outbox.fill("orders.placed", 20, keys=5)
        refused(relay, "no permission to subscribe to _INBOX_relay.>")
        reload(server, config)
        outbox.drained()
        delivers(outbox, relay)
        ids = [message.headers["Nats-Msg-Id"] for message in streams.read("ORDERS")]
        assert len(ids) == len(set(ids)) == 22
