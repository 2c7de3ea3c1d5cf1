"""The operator's console as a process, and a client that sends exactly the headers it is told to."""

import http.client
import os
import re
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support import forks
from tests.support.fix_relay import wait_until
from tests.support.fix_rights import NATS_USER, as_relay

_READER = "suite_reader"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Answer:
    """What the console has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def plain(self) -> str:
        """The text of the page without its markup, each space once."""
        return " ".join(unescape(re.sub(r"<[^>]*>", "", self.text)).split())


class Console:
    """A console as a process; it is asked over one connection a request."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        directory.mkdir()
        self._log = directory / "console.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        self._process = forks.start(forks.Start("relay", ["console"], str(self._log), inherited | dict(settings)))
        wait_until("the console answers or has ended", lambda: self._started or self._process.poll() is not None)
        found = re.search(r"^(http://\S+)$", self.log(), re.MULTILINE)
        assert found is not None, self.log()
        self.link = found[1]
        self.host = urlsplit(self.link).netloc
        self.base = urlsplit(self.link).path.rstrip("/")
        self.cookie: str | None = None
        self.killed = False

    @property
    def _started(self) -> bool:
        return "console.started" in self.log()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def log(self) -> str:
        """Return everything that it has written."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def end(self) -> int:
        """Stop it; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def kill(self) -> None:
        """Kill it, as a machine without memory does."""
        self.killed = True
        self._process.kill()
        self._process.wait(20)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request with the session's cookie and no other header than these."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        sent = {"Host": self.host, **({"Cookie": self.cookie} if self.cookie else {}), **(headers or {})}
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Get a page; `path` is below the base path."""
        return self.ask("GET", self.base + path, headers)

    def post(self, path: str, fields: Mapping[str, object], headers: Mapping[str, str] = SAME_ORIGIN) -> Answer:
        """Send a form as a page of the console does."""
        return self.ask("POST", self.base + path, FORM | dict(headers), urlencode(fields).encode())

    def follow(self, path: str) -> Generator[str, None, None]:
        """Yield the lines of a stream of server-sent events that are not empty, until it is closed."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request("GET", self.base + path, headers={"Cookie": self.cookie or ""})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            while line := answer.readline():
                if line.strip():
                    yield line.decode().strip()
        finally:
            connection.close()

    def enter(self) -> "Console":
        """Open the printed link, as its owner does."""
        parts = urlsplit(self.link)
        self._keep(self.ask("GET", f"{parts.path}?{parts.query}"))
        return self

    def log_in(self, token: str) -> Answer:
        """Send the form for a token, and keep the cookie if there is one."""
        answer = self.post("/login", {"token": token})
        if answer.status == 303:
            self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        assert answer.status == 303, answer
        self.cookie = answer.headers["set-cookie"].partition(";")[0]


MakeConsole = Callable[..., Console]


@pytest.fixture
def make_console(tmp_path: Path) -> Iterator[MakeConsole]:
    """Make consoles: ``make_console(dsn, nats_url, console__auth="token")``; they end with the test.

    They look with the least rights: a login in the role outbox_reader.
    """
    made: list[Console] = []

    def make(dsn: str, servers: str, **settings: str) -> Console:
        environment = {
            "RELAY_POSTGRES__DSN": as_reader(dsn),
            "RELAY_NATS__SERVERS": servers,
            "RELAY_CONSOLE__PORT": "0",
            "RELAY_LOG__FORMAT": "json",
            **{f"RELAY_{name.upper()}": value for name, value in (NATS_USER | settings).items()},
        }
        made.append(Console(tmp_path / f"console{len(made)}", environment))
        return made[-1]

    yield make
    ended_before = [console.log() for console in made if not console.running and not console.killed]
    for console in made:
        if console.running:
            console.end()
    assert not ended_before, ended_before[0][-3000:]
    for console in made:
        assert "Traceback" not in console.log(), console.log()[-3000:]


def as_reader(dsn: str) -> str:
    """Return the address of a login that may look and nothing else."""
    password = urlsplit(dsn).password
    with psycopg.connect(dsn, autocommit=True) as conn:
        # One at a time: a role is of the whole server.
        conn.execute("SELECT pg_advisory_lock(20351)")
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (_READER,)).fetchone():
            make = "CREATE ROLE {} LOGIN IN ROLE outbox_reader PASSWORD {}"
            conn.execute(sql.SQL(make).format(sql.Identifier(_READER), sql.Literal(password)))
    return as_relay(dsn).replace("suite_relay", _READER, 1)


def operator_settings(dsn: str, directory: Path) -> dict[str, str]:
    """Return the settings of a console that may change the outbox."""
    file = directory / "operator.dsn"
    file.write_text(as_relay(dsn))
    return {"console__write": "true", "console__operator_dsn_file": str(file)}
