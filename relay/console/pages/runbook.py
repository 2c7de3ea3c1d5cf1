"""The runbooks as they are shipped: what an operator does about an alert."""

import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from relay.console.filter_form import command
from relay.console.site import HERE, Site

_NAME = re.compile(r"[A-Za-z]{1,80}\.md")
_REPOSITORY = "docs/operations/runbooks"


async def runbooks(site: Site, request: Request) -> Response:
    """List all of them, each with its first sentence."""
    paths = sorted(path for path in runbooks_directory().glob("*.md") if path.stem != "README")
    found = [(path.stem, _first(path.read_text("utf-8"))) for path in paths]
    return site.page(request, "runbooks.html", runbooks=found, command=command("doctor"))


def _first(text: str) -> str:
    """Return the first paragraph of a runbook as one line."""
    paragraphs = text.split("\n\n")
    return " ".join(paragraphs[1].replace("`", "").split()) if len(paragraphs) > 1 else ""


async def runbook(site: Site, request: Request) -> Response:
    """Show a runbook as plain text; where a team keeps its own ones, links of pages lead there (`runbooks_url`)."""
    name = request.path_params["name"]
    path = runbooks_directory() / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise HTTPException(404, "there is no such runbook")
    title, _, text = path.read_text("utf-8").partition("\n")
    return site.page(
        request,
        "runbook.html",
        title=title.removeprefix("# "),
        text=text.strip(),
        path_in_repository=f"{_REPOSITORY}/{name}",
    )


def runbooks_directory() -> Path:
    """Return where the runbooks are: in the installed package, or else in the checkout."""
    package = HERE.parent
    packaged = package / "_runbooks"
    return packaged if packaged.is_dir() else package.parent / _REPOSITORY
