"""The command line. One file a group of commands; each is imported when it runs.

Data goes to stdout, messages to stderr. `relay.errors.Exit` lists the exit codes.
"""

import click

from relay import __version__
from relay.cli.commands import COMMANDS
from relay.cli.group import Commands
from relay.cli.lazy import LazyCommand


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 any other fault, 2 wrong usage or configuration, 3 schema missing or of "
    "another version, 4 events in flight at the shutdown deadline (sent again later), 5 PostgreSQL or NATS "
    "unreachable, 6 declined at the prompt, 7 the stream has lost events, 8 the set-up has a fault, 130 and 143 "
    "a signal (run, projection run, console: a later second one).",
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


for _name, _place, _short_help in COMMANDS:
    main.add_command(LazyCommand(_name, f"relay.cli.{_place}", _short_help))
