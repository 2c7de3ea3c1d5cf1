"""``relay health``: ask the relay of this configuration how it does."""

import socket

import click

from relay.cli.options import Sources, with_sources
from relay.config.listening import PROJECTIONS, RELAY, Listening, listening
from relay.errors import ConfigError, RelayError
from relay.http.ask import get
from relay.text import printable

_OK = 200
_TIMEOUT_S = 4.0


class Unhealthy(RelayError):
    """The relay does not answer, or says itself that something is wrong. Nothing was changed."""


@click.command()
@with_sources("--http-port")
@click.option("--ready", is_flag=True, help="Ask whether it can relay at this moment, and not only whether it turns.")
@click.option("--projections", is_flag=True, help="Ask the runner of projections instead, as [projection_http] says.")
def health(sources: Sources, ready: bool, projections: bool) -> None:
    """Ask the relay on this machine, or the runner of projections, whether it makes progress.

    For a container's health check, or a probe where the port listens on loopback alone. Prints what /healthz (with
    --ready, /readyz) says, and ends with 0 or 1.

    \b
    relay health
    relay health --ready --config relay.toml
    relay health --projections
    """
    section = PROJECTIONS if projections else RELAY
    own = Sources(sources.config, {f"{section}.port": sources.flags["http.port"]})
    where = listening(own.config, own.flags, section=section)
    if where is None:
        settings = own.load()
        where = Listening(**(settings.projection_http if projections else settings.http).model_dump())
    if not where.enabled or not where.port:
        raise ConfigError([f"{section}.port: must be a port, and {section}.enabled true: where else to ask?"])
    try:
        status, text = get(_reachable(where.host), where.port, "/readyz" if ready else "/healthz", _TIMEOUT_S)
    except OSError as error:
        raise Unhealthy(f"no relay answers at {where.host}:{where.port}: {error}") from error
    if status != _OK:
        raise Unhealthy(text)
    click.echo(printable(text))


def _reachable(host: str) -> str:
    """Return where to ask what listens at a host: on this machine, if it listens everywhere."""
    for family, loopback in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            address = socket.inet_pton(family, host)
        except OSError:  # a name, or an address of the other family
            continue
        if not any(address):
            return loopback
    return host
