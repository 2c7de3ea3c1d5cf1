"""``relay run``: the daemon."""

import click

from relay.cli.options import Sources, with_sources
from relay.config import child_process
from relay.daemon.put_off import put_off


@click.command()
@with_sources("--dsn-file", "--table", "--server", "--creds-file", "--http-port", "--log-format", "--log-level")
def run(sources: Sources) -> None:
    """Relay events until told to stop.

    Several may run: they share the keys among them. SIGTERM or Ctrl-C stops fetching and awaits what is in flight;
    another one, half a second later or more, leaves at once. Nothing is lost either way.

    \b
    relay run --config relay.toml
    RELAY_POSTGRES__DSN=postgresql://... RELAY_NATS__SERVERS=nats://a:4222,nats://b:4222 relay run
    """
    reading = child_process.begin(sources.load)
    # Meanwhile, so that it takes no time.
    put_off()
    import asyncio

    from relay.daemon.serve import serve
    from relay.operate.access import check_addresses

    settings = reading.result()
    check_addresses(settings)
    raise SystemExit(int(asyncio.run(serve(settings))))
