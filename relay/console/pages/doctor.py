"""The doctor: the checks of ``relay doctor`` with the rights of the console."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.doctor.examine import examine
from relay.operate.doctor.findings import Finding, Level, count

_ORDER: dict[Level, int] = {"fault": 0, "warning": 1, "ok": 2}


async def ask(site: Site, request: Request) -> Response:
    """Explain what the checks do, and offer to run them."""
    return _page(site, request)


async def run(site: Site, request: Request) -> Response:
    """Run the checks. They change nothing; no trial message is published."""
    known = site.live.known
    findings = await site.run(lambda: examine(site.settings, (), trials=False, took=known.took))
    return _page(
        site,
        request,
        findings=sorted(findings, key=lambda one: _ORDER[one.level]),
        faults=count(findings, "fault"),
        warnings=count(findings, "warning"),
    )


def _page(
    site: Site, request: Request, findings: Sequence[Finding] | None = None, faults: int = 0, warnings: int = 0
) -> Response:
    return site.page(
        request,
        "doctor.html",
        findings=findings,
        faults=faults,
        warnings=warnings,
        command=command("doctor", "--no-trial"),
    )
