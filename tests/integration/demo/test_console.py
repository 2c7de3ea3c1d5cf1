"""`make console-demo`: a console over the demo's shop, with something wrong to look at."""

import http.client
import re
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from relay.demo.servers import launch
from tests.support.fix_relay import ROOT, wait_until


def test_it_shows_what_is_wrong_and_ends_with_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    process = launch([sys.executable, "-m", "relay.demo.console", "0"], log, cwd=ROOT)
    try:
        wait_until("the link is printed", lambda: "/?key=" in log.read_text() or process.poll() is not None, 60)
        found = re.search(r"^http://\S+$", log.read_text(), re.MULTILINE)
        assert found is not None, log.read_text()
        parts = urlsplit(found[0])

        def page(path: str, cookie: str = "") -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection(parts.netloc, timeout=30)
            connection.request("GET", path, headers={"Cookie": cookie, "Connection": "close"})
            return connection.getresponse()

        with page(f"/?{parts.query}") as entered:
            cookie = (entered.getheader("set-cookie") or "").partition(";")[0]

        def overview() -> str:
            with page("/", cookie) as answer:
                return answer.read().decode()

        wait_until("the trouble is seen", lambda: "no stream takes this subject" in overview(), 60)
        wait_until("the dead letter is seen", lambda: "dead letter without a decision" in overview(), 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_demo_offers_a_console_that_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    process = launch([sys.executable, "-m", "relay", "demo", "--plain", "--rate", "20"], log, cwd=ROOT)
    try:
        wait_until("the link is printed", lambda: "/?key=" in log.read_text() or process.poll() is not None, 60)
        found = re.search(r"http://\S+$", log.read_text(), re.MULTILINE)
        assert found is not None, log.read_text()
        parts = urlsplit(found[0])
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        connection.request("GET", f"/?{parts.query}")
        assert connection.getresponse().status == 303
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
        with pytest.raises(ConnectionRefusedError):
            connection.request("GET", "/healthz")
    finally:
        process.kill()
        process.wait()
