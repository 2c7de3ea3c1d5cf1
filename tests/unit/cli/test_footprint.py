"""What a short command imports: a health check runs each half minute beside the daemon."""

import subprocess
import sys

import pytest

from relay.cli import main
from relay.cli.lazy import LazyCommand, loaded
from relay.demo.servers import free_port

HEAVY = {"asyncio", "email", "http.client", "nats", "prometheus_client", "psycopg", "pydantic", "ssl"}
PROGRAM = """
import os, sys
sys.argv[0] = "relay"
from relay.__main__ import main
try:
    main()
except SystemExit:
    pass
print(*sorted(sys.modules), file=sys.stderr)
"""


def imported(*words: str) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    ended = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"LANG": "C.UTF-8"},
    )
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words",
    [("--version",), ("--help",), ("version",), ("health", "--http-port", str(free_port()))],
    ids=lambda words: words[0],
)
def test_a_short_command_imports_neither_the_settings_nor_a_client(words: tuple[str, ...]) -> None:
    modules = imported(*words)
    assert modules & HEAVY == set()
    assert {name for name in modules if name.startswith("relay.")} <= {
        "relay.__main__",
        "relay.cli",
        "relay.cli.commands",
        "relay.cli.group",
        "relay.cli.health",
        "relay.cli.lazy",
        "relay.cli.options",
        "relay.config",
        "relay.config.flags",
        "relay.config.listening",
        "relay.errors",
        "relay.http",
        "relay.http.ask",
        "relay.interrupts",
        "relay.text",
    }


def test_the_daemon_imports_no_other_command() -> None:
    modules = imported("run", "--help")
    assert {name for name in modules if name.startswith("relay.cli.")} == {
        "relay.cli.commands",
        "relay.cli.group",
        "relay.cli.lazy",
        "relay.cli.options",
        "relay.cli.run",
    }


def test_every_command_is_named_by_its_place_and_has_its_line_of_help() -> None:
    for name, command in main.commands.items():
        assert name == "version" or isinstance(command, LazyCommand)
        assert loaded(command).name == name
        assert command.get_short_help_str(200) == loaded(command).get_short_help_str(200)


def test_the_daemon_keeps_neither_the_settings_checks_nor_tls_nor_the_operators_work() -> None:
    program = "from relay.daemon.put_off import put_off; put_off()\n"
    program += "import relay.cli.run, relay.daemon.serve, relay.operate.access, sys\n"
    program += "print(*(name for name, module in sys.modules.items() if module))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = set(ended.stdout.split())
    assert "psycopg" in modules and "nats" in modules, "what it cannot do without"
    unwanted = {"dotenv", "nacl", "nkeys", "pydantic", "pydantic_core", "pydantic_settings", "relay.demo"}
    unwanted |= {"_hashlib", "_ssl", "html.entities", "prometheus_client", "urllib.request", "wsgiref"}
    unwanted |= {"_bz2", "_lzma", "difflib"}
    assert modules & unwanted == set()
    assert {name for name in modules if name.startswith(("relay.config.", "relay.operate."))} == {
        "relay.config.child_process",
        "relay.config.derived_options",
        "relay.config.flags",
        "relay.operate.access",
    }


def test_the_console_keeps_nothing_of_what_checks_the_settings() -> None:
    program = "import relay.cli.console, relay.console.serve, sys; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    modules = set(ended.stdout.split())
    assert "relay.console.app" in modules
    assert not {name for name in modules if name.startswith("pydantic")}
    assert "relay.config.settings" not in modules
