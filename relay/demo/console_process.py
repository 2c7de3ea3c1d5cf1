"""The operator's console as a process beside a demo."""

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from relay.demo.world import Process, World, environment, start

_LINK = re.compile(r"^http://\S+$", re.MULTILINE)
_READY_WITHIN_S = 20.0


@contextmanager
def console(everything: World, port: int) -> Iterator[Process]:
    """Run a console that may change events; its link stands in its log."""
    with tempfile.TemporaryDirectory(prefix="relay-console-") as name:
        dsn = Path(name) / "operator.dsn"
        dsn.write_text(everything.shop_dsn, "utf-8")
        own = {
            "RELAY_POSTGRES__DSN": everything.shop_dsn,
            "RELAY_CONSOLE__PORT": str(port),
            "RELAY_CONSOLE__WRITE": "true",
            "RELAY_CONSOLE__OPERATOR_DSN_FILE": str(dsn),
            "RELAY_LOG__FORMAT": "human",
        }
        environ = environment(everything.nats.url) | own
        process = start("the console", ["console"], Path(name) / "console.log", environ)
        try:
            yield process
        finally:
            process.stop()


@contextmanager
def console_link(everything: World) -> Iterator[str | None]:
    """Run a console on a free port; yield the link that lets in, None if the extra ``console`` is not installed.

    Raises:
        RelayError: It did not start.
    """
    if any(find_spec(name) is None for name in ("jinja2", "starlette", "uvicorn")):
        yield None
        return
    with console(everything, 0) as running:
        deadline = time.monotonic() + _READY_WITHIN_S
        while (found := _LINK.search(running.log.read_text("utf-8") if running.log.exists() else "")) is None:
            running.check()
            if time.monotonic() > deadline:
                yield None
                return
            time.sleep(0.05)
        yield found[0]
