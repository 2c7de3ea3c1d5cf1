"""The settings of the operator's console: where it listens, who is let in, and what they may do."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from relay.config.loopback import LOOPBACK
from relay.config.sections import Listed, Section


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is no address or network such as 10.0.0.0/8") from None


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", value):
        raise ValueError(f"{value!r} is no name of a host, without scheme, port and path")
    return value.lower()


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ValueError(f"{value!r} is no name of a header")
    return value


_Header = Annotated[str, AfterValidator(_header)]


class ConsoleSection(Section):
    """The console of ``relay console``. What goes together is checked when it starts: `relay.console.access.setup`.

    Attributes:
        host: Where it listens; beyond loopback only with `auth` "token" or "proxy".
        hosts: The names by which browsers reach it; others get no answer.
        base_path: The path below which a proxy shows it, such as ``/relay``; empty: none.
        operators: Who may change something with `auth` "proxy": users, or ``group:name``; whole texts.
        operator_dsn_file: Holds the address of PostgreSQL by which changes are made.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 9465
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], *Listed] = LOOPBACK
    base_path: str = ""
    auth: Literal["link", "token", "proxy"] = "link"
    reader_token_file: str = ""
    operator_token_file: str = ""
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], *Listed] = ()
    user_header: _Header = "X-Forwarded-User"
    groups_header: _Header = "X-Forwarded-Groups"
    proxy_secret_file: str = ""
    operators: Annotated[tuple[str, ...], *Listed] = ()
    write: bool = False
    operator_dsn_file: str = ""
    payloads: Literal["ask", "never"] = "ask"
    runbooks_url: Annotated[str, Field(pattern=r"^(https?://[!-~]+)?$")] = ""

    @field_validator("base_path")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", path):
            raise ValueError("must look like /relay or /tools/relay")
        return path
