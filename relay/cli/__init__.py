"""The command line. One file a group of commands; each imports what it needs when it runs.

Data goes to stdout, messages to stderr. `relay.errors.Exit` lists the exit codes.
"""

import click

from relay import __version__
from relay.cli import (
    audit,
    bench,
    completion,
    config,
    dead,
    demo,
    doctor,
    explain,
    health,
    listing,
    migrate,
    projection,
    prune,
    replay,
    run,
    send,
    show,
    status,
    tail,
    verify,
)
from relay.cli.options import Commands


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 any other fault, 2 wrong usage or configuration, 3 schema missing or of "
    "another version, 4 events in flight at the shutdown deadline (sent again later), 5 PostgreSQL or NATS "
    "unreachable, 6 declined at the prompt, 7 the stream has lost events, 8 the set-up has a fault, 130 and 143 "
    "a signal (the daemon: a second one).",
)
@click.version_option(__version__, prog_name="relay", message="%(prog)s %(version)s")
def main() -> None:
    """Move committed events from a PostgreSQL outbox to NATS JetStream, and lose none.

    \b
    relay demo                             see it work, with servers of its own
    relay migrate --print                  the SQL of the outbox
    relay migrate && relay run             work
    relay doctor                           prove the set-up
    relay status                           how it stands
    relay list --state dead --since 2h     what was given up
    relay explain 4711                     why an event is where it is
    """


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


for _command in (
    run.run,
    demo.demo,
    migrate.migrate,
    status.status,
    health.health,
    tail.tail,
    listing.list_events,
    send.send,
    show.show,
    explain.explain,
    dead.dead,
    replay.replay,
    audit.audit,
    verify.verify_command,
    prune.prune,
    projection.projection,
    bench.bench,
    config.config,
    completion.completion,
    doctor.doctor,
):
    main.add_command(_command)
