"""The doctor: the checks of ``relay doctor`` with the rights of the console."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import Site
from relay.operate.doctor.examine import examine
from relay.operate.doctor.findings import Finding, count


async def ask(site: Site, request: Request) -> Response:
    """Explain what the checks do, and offer to run them."""
    return _page(site, request)


async def run(site: Site, request: Request) -> Response:
    """Run the checks. They change nothing; no trial message is published."""
    known = site.live.known
    findings = await site.run(lambda: examine(site.settings, (), trials=False, took=known.took, role="reader"))
    return _page(site, request, findings)


def _page(site: Site, request: Request, findings: Sequence[Finding] | None = None) -> Response:
    """Show the checks, what is wrong before what is well."""
    found = findings or ()
    return site.page(
        request,
        "doctor.html",
        is_examined=findings is not None,
        wrong=sorted((one for one in found if one.level != "ok"), key=lambda one: one.level),
        well=[one for one in found if one.level == "ok"],
        faults=count(found, "fault"),
        warnings=count(found, "warning"),
        command=command("doctor", "--no-trial"),
    )
