"""``relay health``: ask the relay of this configuration how it does."""

import http.client
from http import HTTPStatus
from ipaddress import ip_address

import click

from relay.cli.options import with_settings
from relay.config.settings import Settings
from relay.errors import ConfigError, RelayError
from relay.text import printable

_TIMEOUT_S = 4.0


class Unhealthy(RelayError):
    """The relay does not answer, or says itself that something is wrong. Nothing was changed."""


@click.command(short_help="Ask the relay on this machine how it does.")
@with_settings("--http-port")
@click.option("--ready", is_flag=True, help="Ask whether it can relay at this moment, and not only whether it turns.")
def health(settings: Settings, ready: bool) -> None:
    """Ask the relay on this machine whether it makes progress.

    For a container's health check, or a probe where the port listens on loopback alone. Prints what /healthz (with
    --ready, /readyz) says, and ends with 0 or 1.

    \b
    relay health
    relay health --ready --config relay.toml
    """
    where = settings.http
    if not where.enabled or not where.port:
        raise ConfigError(["http.port: must be a port, and http.enabled true: where else to ask?"])
    connection = http.client.HTTPConnection(_reachable(where.host), where.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz" if ready else "/healthz")
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"no relay answers at {where.host}:{where.port}: {error}") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.OK:
        raise Unhealthy(text)
    click.echo(printable(text))


def _reachable(host: str) -> str:
    """Give where to ask what listens at a host: on this machine, where it listens everywhere."""
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
