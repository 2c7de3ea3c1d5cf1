"""The demo as a newcomer runs it, in a process of its own."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import relay
from tests.support.processes import gone, linux_alone, mentioning

_SUMMARY = re.compile(
    r"placed (\d+) = delivered (\d+) = in the read model (\d+); (\d+) rolled back, 0 dead letters, .*"
)


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory), "TERM": "xterm", "RELAY_LOG__LEVEL": "no such level"}


def _demo(*args: str) -> list[str]:
    return [sys.executable, "-m", "relay", "demo", *args]


def test_it_ends_by_itself_and_everything_placed_is_in_the_read_model(tmp_path: Path) -> None:
    done = subprocess.run(
        _demo("--events", "300", "--plain", "--rate", "300", "--seed", "1"),
        env=_environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = _SUMMARY.fullmatch(done.stdout.removesuffix("\n"))
    assert found is not None, done.stdout
    assert found.group(1, 2, 3) == ("300", "300", "300")
    assert int(found[4]) > 0
    assert re.search(r"killed.*nats-server is back.*caught up", done.stderr, re.DOTALL), done.stderr
    assert list(tmp_path.iterdir()) == []
    assert mentioning(str(tmp_path)) == set()


def test_it_fails_if_the_read_model_is_not_what_was_placed(tmp_path: Path) -> None:
    wrong = tmp_path / "projections"
    shutil.copytree(Path(relay.__file__).parent / "demo" / "projections", wrong)
    text = (wrong / "order_list.toml").read_text("utf-8")
    assert "'total_cents')::bigint" in text
    (wrong / "order_list.toml").write_text(
        text.replace("'total_cents')::bigint", "'total_cents')::bigint + 1"), "utf-8"
    )
    script = """if True:
        import pathlib, sys
        from relay.demo import run
        sys.modules["relay.demo.world"]._PROJECTIONS = pathlib.Path(sys.argv[1])
        sys.exit(run(events=100, plain=True, rate=100))
    """
    done = subprocess.run(
        [sys.executable, "-c", script, str(wrong)],
        env=_environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "the read model holds other orders than the shop" in done.stdout


@contextmanager
def _in_a_terminal(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the demo in a terminal; yield the process, and the other end of the terminal."""
    ours, theirs = pty.openpty()
    demo = subprocess.Popen(
        _demo(), env=_environment(directory), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield demo, ours
    finally:
        demo.kill()
        demo.wait()
        os.close(ours)


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()}


def _read_until(terminal: int, pattern: str, within_s: float = 30.0) -> str:
    """Read what is shown until it matches, which it must."""
    text, deadline = "", time.monotonic() + within_s
    while not re.search(pattern, text) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 65_536).decode("utf-8", "replace")
            except OSError:
                break
    assert re.search(pattern, text), text
    return text


def _read_to_its_end(terminal: int) -> None:
    """Read until nobody writes any more: two signals may count as one, and then the shop opens and closes first."""
    with suppress(OSError):
        while os.read(terminal, 65_536):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_picture_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with _in_a_terminal(tmp_path) as (demo, terminal):
        shown = _read_until(terminal, r"read model +[1-9]")
        assert "\x1b[?25l" in shown
        assert len(mentioning(str(tmp_path))) >= 2
        demo.send_signal(number)
        rest = _read_until(terminal, r"\n.* in all\r?\n")
        assert re.search(r"\x1b\[\?25h(.*\n)*placed \d+ = delivered", rest), rest
        assert demo.wait(20) == 0
    assert list(tmp_path.iterdir()) == []
    assert mentioning(str(tmp_path)) == set()


def test_a_signal_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with _in_a_terminal(tmp_path) as (demo, terminal):
        _read_until(terminal, "Starting")
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGINT)
        _read_to_its_end(terminal)
        assert demo.wait(20) in (0, 130)
    assert list(tmp_path.iterdir()) == []
    assert mentioning(str(tmp_path)) == set()


@linux_alone
def test_when_it_is_killed_no_process_is_left(tmp_path: Path) -> None:
    with _in_a_terminal(tmp_path) as (demo, terminal):
        _read_until(terminal, r"read model +[1-9]")
        servers = mentioning(str(tmp_path))
        children = _children(demo.pid)
        # PostgreSQL, nats-server, the relay, the projection and the console.
        assert len(children) == 5
        demo.kill()
        demo.wait()
        assert gone(servers | children)


@pytest.mark.parametrize(("command", "name"), [("relay\0run", "relay"), ("relay\0projection", "projection")])
def test_a_relay_or_a_projection_that_ends_is_no_success(tmp_path: Path, command: str, name: str) -> None:
    with _in_a_terminal(tmp_path) as (demo, terminal):
        _read_until(terminal, r"read model +[1-9]")
        (process,) = mentioning(command) & _children(demo.pid)
        os.kill(process, signal.SIGKILL)
        assert f"the {name} has ended with exit code -9" in _read_until(terminal, r"exit code -?\d+")
        assert demo.wait(20) == 1
    assert list(tmp_path.iterdir()) == []
    assert mentioning(str(tmp_path)) == set()


def test_a_terminal_that_is_closed_ends_it(tmp_path: Path) -> None:
    with _in_a_terminal(tmp_path) as (demo, terminal):
        _read_until(terminal, r"read model +[1-9]")
        children = _children(demo.pid)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), terminal)
        demo.wait(30)
        assert gone(children)
    assert list(tmp_path.iterdir()) == []
