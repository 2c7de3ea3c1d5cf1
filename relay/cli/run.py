"""``relay run``: the daemon."""

import asyncio

import click

from relay.cli.options import with_settings
from relay.config.settings import Settings
from relay.operate.access import check_addresses


@click.command()
@with_settings("--dsn-file", "--table", "--server", "--creds-file", "--http-port", "--log-format", "--log-level")
def run(settings: Settings) -> None:
    """Relay events until told to stop.

    Several may run: they share the keys among them. SIGTERM or Ctrl-C stops fetching and awaits what is in flight; the
    second signal leaves at once. Nothing is lost either way.

    \b
    relay run --config relay.toml
    RELAY_POSTGRES__DSN=postgresql://... RELAY_NATS__SERVERS=nats://a:4222,nats://b:4222 relay run
    """
    from relay.daemon.serve import serve

    check_addresses(settings)
    raise SystemExit(int(asyncio.run(serve(settings))))
