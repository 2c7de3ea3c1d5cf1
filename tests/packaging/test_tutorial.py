"""Tutorial and quick start do what they say: their commands are run as they are written, on servers like theirs."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.demo.servers import free_port, launch
from tests.packaging.test_readme import shape
from tests.support.fix_relay import ROOT, wait_until

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
OWN_POSTGRES, OWN_NATS = "25432", "24222"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


# Each command is a process of its own, and Python takes a second to start on a busy machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """What `make servers` starts, on free ports; whoever works on this machine may use the usual ones."""
    postgres, nats = str(free_port()), str(free_port())
    log = tmp_path / "servers.log"
    command = [sys.executable, "-m", "relay.demo.scratch", "--postgres-port", postgres, "--nats-port", nats]
    servers = launch(command, log)
    try:
        wait_until("the servers run", lambda: "Ctrl-C" in log.read_text("utf-8"))
        yield postgres, nats
    finally:
        servers.send_signal(signal.SIGINT)
        assert servers.wait(30) == 0


def run(script: str, ports: tuple[str, str], directory: Path) -> str:
    """Run commands in a directory of their own, so that nothing is left in the checkout; returns what they print."""
    assert OWN_POSTGRES in script and OWN_NATS in script
    script = script.replace(OWN_POSTGRES, ports[0]).replace(OWN_NATS, ports[1])
    script = script.replace(". .venv/bin/activate", f". {Path(sys.executable).parent / 'activate'}")
    done = subprocess.run(
        ["/bin/bash"],
        input="set -e\ntrap 'kill $(jobs -p) || true' EXIT\n" + script,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={"PATH": "/usr/bin:/bin", "RELAY_HTTP__PORT": str(free_port())},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_tutorial_do_what_it_says(ports: tuple[str, str], tmp_path: Path) -> None:
    first, *commands = blocks(TUTORIAL, "sh")
    assert first == "make servers\n"
    printed = run("\n".join(commands), ports, tmp_path)
    for shown in blocks(TUTORIAL, "text"):
        assert shape(shown) in shape(printed), f"not printed: {shown}\n{printed}"
    assert "rolled back\n" in printed and "a dead letter\n" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["servers.log"]


def test_the_quick_start_of_the_readme_delivers_an_event_and_ends_without_a_warning(
    ports: tuple[str, str], tmp_path: Path
) -> None:
    (commands,) = [block for block in blocks(README, "sh") if OWN_NATS in block]
    printed = run(commands, ports, tmp_path)
    assert re.search(r"^delivered +1 in the last minute", printed, re.MULTILINE), printed
    assert "no faults, no warnings" in printed


def test_what_the_readme_tells_to_make_is_there() -> None:
    targets = set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(README, "sh")), re.MULTILINE)) | {"servers"}
    assert {"demo", "test"} <= targets
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert not [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
