"""What every page stands on: templates, the settings, the shared look, and the way to the outbox."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from relay import __version__
from relay.console import plain
from relay.console.access.entry import Entry
from relay.console.access.visitor import Visitor
from relay.console.filter_form import asks
from relay.console.live import Live, Look
from relay.console.pictures.shards import letter
from relay.console.unchanged import entity_tag, is_known
from relay.operate.access import Reader, reading
from relay.operate.gone_stream import subject_maker
from relay.text import about_size, age, iso, of_planned

if TYPE_CHECKING:
    from relay.config.settings import Settings

T = TypeVar("T")

HERE = Path(__file__).parent
# Connections of pages to PostgreSQL at once; the others wait for their turn.
_CONNECTIONS = 4
PAGES = (
    ("/", "Overview"),
    ("/events", "Events"),
    ("/dead", "Dead letters"),
    ("/waiting", "Waiting"),
    ("/streams", "Streams"),
    ("/relays", "Relays"),
    ("/projections", "Projections"),
    ("/tail", "Tail"),
    ("/doctor", "Doctor"),
    ("/audit", "Audit"),
    ("/about", "About"),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a page that moves, as it was rendered from one look."""

    look: Look
    body: bytes


class Site:
    """Renders pages, and reads the outbox for them.

    Attributes:
        settings: Of the console; looking uses ``[postgres] dsn``.
        live: The look that open pages share.
        subject_of: Makes the subject of a topic and a key.
    """

    def __init__(self, settings: "Settings", entry: Entry) -> None:
        self.settings = settings
        self.live = Live(settings)
        self.entry = entry
        self.subject_of = subject_maker(settings)
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._parts: dict[tuple[str, bool], _Part] = {}
        self._env = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True),
            finalize=plain.harmless,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.filters.update(
            {
                "age": age,
                "lines": plain.lines,
                "raw": plain.raw,
                "size": about_size,
                "visible": plain.visible,
            }
        )
        self._env.globals.update(
            {
                "asks": asks,
                "base": settings.console.base_path,
                "clock": _clock,
                "letter": letter,
                "login_form": entry.has_login,
                "menu": PAGES,
                "of_planned": of_planned,
                "runbook": self._runbook,
                "time": _time,
                "version": __version__,
                "write": settings.console.write,
            }
        )

        # Now, and not while somebody waits for a page.
        for name in self._env.list_templates():
            self._env.get_template(name)

    def page(self, request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """Render a page."""
        return HTMLResponse(self._render(request, template, values), status)

    def looked(self, request: Request, name: str, look: Look, values: Callable[[], Mapping[str, object]]) -> Response:
        """Render a page of a look, or with ``?live`` the part of it that moves, once for all tabs that share the look.

        Args:
            name: The template of the page is called so, and that of its part with ``_live`` behind it. The part
                must not depend on who looks.
            values: Returns what the templates need; called only if something is to be rendered.
        """
        as_table = request.query_params.get("as") == "table"
        shown = {"now": look.at, "as_table": as_table}
        if "live" not in request.query_params:
            return HTMLResponse(self._render(request, f"{name}.html", {**shown, **values()}))
        part = self._parts.get((name, as_table))
        if part is None or part.look is not look:
            part = _Part(look, self._render(request, f"{name}_live.html", {**shown, **values()}).encode())
            self._parts[(name, as_table)] = part
        return answer_if_new(request, part.body)

    def _render(self, request: Request, template: str, values: Mapping[str, object]) -> str:
        visitor = request.state.visitor
        return self._env.get_template(template).render(
            {
                "visitor": visitor,
                "may_change": self.settings.console.write and visitor is not None and visitor.operator,
                "path": request.url.path,
                "now": time.time(),
                **values,
            }
        )

    def url(self, path: str) -> str:
        """Return the address of a page of ours."""
        return f"{self.settings.console.base_path}{path}"

    async def read(self, look: Callable[[Reader], T]) -> T:
        """Read the outbox in one transaction, in a thread of its own.

        Raises:
            RelayError: The outbox cannot be read.
            psycopg.Error: Likewise; `relay.operate.access.foreseen` says what it means.
        """
        return await self.run(lambda: self._read(look))

    async def run(self, work: Callable[[], T]) -> T:
        """Run something that waits for PostgreSQL, in a thread of its own; at most four do at once."""
        async with self._turns:
            return await asyncio.to_thread(work)

    def _read(self, look: Callable[[Reader], T]) -> T:
        with reading(self.settings) as reader:
            return look(reader)

    def _runbook(self, alert: str) -> Markup:
        elsewhere = self.settings.console.runbooks_url.rstrip("/")
        if elsewhere:
            return Markup('<a href="{}/{}.md" rel="noreferrer">{}</a>').format(elsewhere, alert, alert)
        return Markup('<a href="{}/runbooks/{}.md">{}.md</a>').format(self.settings.console.base_path, alert, alert)


def answer_if_new(request: Request, body: bytes) -> Response:
    """Answer with a part of a page, or with 304 if the browser shows the very same already."""
    tag = entity_tag(body)
    if is_known(tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers={"etag": tag})
    return HTMLResponse(body, headers={"etag": tag})


def visitor_of(request: Request) -> Visitor:
    """Return who asks; behind the guard somebody always does."""
    visitor = request.state.visitor
    if not isinstance(visitor, Visitor):
        raise TypeError("this page is open to nobody without a name")
    return visitor


def _clock(at: float) -> Markup:
    """Return a moment for a list whose lines stay as they are: the time of day in UTC, all of it in the title."""
    utc = iso(at) or ""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc, utc, utc[11:19] or utc)


def _time(at: float | None, now: float) -> Markup:
    """Return a moment for reading: how long ago in the text, UTC in the title."""
    if at is None:
        return Markup("&ndash;")
    utc = iso(at) or ""
    if not utc.endswith("Z"):
        return Markup("<span>{}</span>").format(utc)
    distance = f"in {age(at - now)}" if at > now else f"{age(now - at)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc, utc, distance)
