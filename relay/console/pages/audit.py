"""Who changed what: the audit table."""

import json

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.changes import AuditLine, audit_lines
from relay.operate.previews import RECORD

_LINES = 100


async def audit(site: Site, request: Request) -> Response:
    """Show what commands and consoles have changed, the newest first."""
    found = await site.read(lambda reader: audit_lines(reader, _LINES))
    return site.page(
        request,
        "audit.html",
        lines=[(line, _filter(line)) for line in found],
        most=_LINES,
        command=command("audit", "--limit", str(_LINES)),
    )


def _filter(line: AuditLine) -> str:
    found = json.loads(line.filter)
    shown = (
        f"{name}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in found.items()
        if name != RECORD
    )
    return " ".join(shown) or "all"
