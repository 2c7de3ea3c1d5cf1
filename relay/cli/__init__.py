"""The command line. One file a group of commands; each is imported when it runs.

Data goes to stdout, messages to stderr. `relay.errors.Exit` lists the exit codes.
"""

import click

from relay import __version__
from relay.cli.group import Commands
from relay.cli.lazy import LazyCommand


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


for _name, _attribute, _short_help in (
    ("adopt", "adopt:adopt", "Take over the outbox table of another tool."),
    ("audit", "audit:audit", "What commands have changed: who, when, which events."),
    ("bench", "bench:bench", "Measure your own set-up with trial events."),
    ("completion", "completion:completion", "Completion for bash, zsh and fish."),
    ("config", "config:config", "Check the settings, and print what holds."),
    ("dead", "dead:dead", "Look at dead letters, retry or discard them."),
    ("demo", "demo:demo", "See it work, with servers of its own."),
    ("doctor", "doctor:doctor", "Prove the set-up: rights, streams, limits, clocks."),
    ("explain", "explain:explain", "Why is this event where it is, and what is next?"),
    ("health", "health:health", "Ask the relay on this machine how it does."),
    ("list", "listing:list_events", "Events by state, topic, key, time, error."),
    ("migrate", "migrate:migrate", "Make the outbox, or bring it up to date."),
    ("projection", "projection:projection", "Keep read models from the stream."),
    ("prune", "prune:prune", "Delete old events by hand."),
    ("replay", "replay:replay", "Send delivered events again."),
    ("run", "run:run", "Relay events until told to stop."),
    ("send", "send:send", "Insert one event, and see it arrive."),
    ("show", "show:show", "One event, with headers and payload."),
    ("status", "status:status", "Who relays, how far, what waits and why."),
    ("stream", "stream:stream", "Make, look at and change streams."),
    ("tail", "tail:tail", "Follow deliveries, a line for each event."),
    ("verify", "verify:verify_command", "Compare delivered events with their streams."),
):
    main.add_command(LazyCommand(_name, f"relay.cli.{_attribute}", _short_help))
