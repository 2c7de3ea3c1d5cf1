"""Versions, the settings in effect with secrets hidden, and licences."""

import platform

from starlette.requests import Request
from starlette.responses import Response

from relay import __version__
from relay.config.shown import effective
from relay.console.filter_form import command
from relay.console.site import HERE, Site
from relay.postgres.migrate import newest_version


async def about(site: Site, request: Request) -> Response:
    """Show what this console is made of, and how it is set."""
    licence = (HERE / "static" / "htmx-LICENSE.txt").read_text("utf-8")
    return site.page(
        request,
        "about.html",
        versions=(
            ("outbox-relay", __version__),
            ("newest schema version", newest_version()),
            ("Python", platform.python_version()),
        ),
        settings=effective(site.settings),
        licence=licence,
        command=command("config"),
    )
