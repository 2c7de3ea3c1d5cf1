"""``relay console``: the operator's web console."""

from importlib.util import find_spec

import click

from relay.cli.options import Sources, with_sources
from relay.cli.table import message
from relay.config import child_process
from relay.errors import ConfigError


@click.command()
@with_sources("--dsn-file", "--table", "--server", "--creds-file", "--console-port", "--log-format", "--log-level")
def console(sources: Sources) -> None:
    """Serve a web console: what waits and why, events, dead letters, streams, relays.

    It needs the extra: pip install 'outbox-relay[console]'. It is a process of its own, one for any number of relays,
    with rights of its own: outbox_reader is enough to look. It listens on this machine alone and prints a link that
    lets in; [console] says how others are let in, and whether anything can be changed.

    \b
    relay console --config relay.toml
    RELAY_CONSOLE__PORT=8080 relay console
    """
    missing = [name for name in ("jinja2", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError([f"{', '.join(missing)} not installed: pip install 'outbox-relay[console]'"])
    reading = child_process.begin(sources.load)
    # Meanwhile, so that it takes no time.
    from relay.console.serve import serve

    serve(reading.result(), message)
