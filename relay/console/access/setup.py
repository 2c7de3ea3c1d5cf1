"""What must go together in ``[console]`` before anything is served, and the secrets that it names."""

from pathlib import Path
from typing import TYPE_CHECKING

from relay.config.loopback import LOOPBACK
from relay.credentials import IdentityError, secret

if TYPE_CHECKING:
    from relay.config.console_section import ConsoleSection

_SHORTEST_TOKEN = 16


def setup_faults(section: "ConsoleSection") -> list[str]:
    """Return what is wrong with the settings, a line each; empty if the console may start."""
    faults = []
    if section.host not in LOOPBACK and section.auth == "link":
        faults.append(f'[console] host: {section.host} is reached by others: set auth to "token" or "proxy"')
    if section.auth == "token" and not (section.reader_token_file or section.operator_token_file):
        faults.append('[console] auth: "token" needs reader_token_file or operator_token_file')
    if section.auth == "proxy" and not section.trusted_proxies:
        faults.append('[console] auth: "proxy" needs trusted_proxies: nobody else may name a user')
    if section.write and not section.operator_dsn_file:
        faults.append("[console] write: needs operator_dsn_file, an address of PostgreSQL in the role outbox_relay")
    tokens = {}
    for name in ("reader_token_file", "operator_token_file", "proxy_secret_file", "operator_dsn_file"):
        path = getattr(section, name)
        if path:
            try:
                text = secret(Path(path))
            except IdentityError as error:
                faults.append(f"[console] {name}: {error}")
                continue
            if name != "operator_dsn_file" and len(text) < _SHORTEST_TOKEN:
                faults.append(f"[console] {name}: {path} holds less than {_SHORTEST_TOKEN} characters")
            tokens[name] = text
    if "reader_token_file" in tokens and tokens["reader_token_file"] == tokens.get("operator_token_file"):
        faults.append("[console] operator_token_file: holds the same token as reader_token_file")
    return faults
