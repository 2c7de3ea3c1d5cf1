"""Changing many: the preview, its confirmation, and how far it is. Routed only with ``console.write``."""

import functools
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.console.changes.jobs import Job, Jobs
from relay.console.changes.order import TYPED_ABOVE, Order, objection, read_order
from relay.console.changes.work import Shown, carry_out, operator_settings, preview
from relay.console.form_body import read_body
from relay.console.site import Site, visitor_of


class ChangePages:
    """The pages by which operators change events."""

    def __init__(self) -> None:
        self.jobs = Jobs()

    async def look(self, site: Site, request: Request) -> Response:
        """Show what an order would do: count, examples, the equal command."""
        order = read_order(request.query_params, time.time())
        if order.faults:
            return self._page(site, request, order, None, "; ".join(order.faults), 400)
        return self._page(site, request, order, await self._preview(site, request, order), None, 200)

    async def confirm(self, site: Site, request: Request) -> Response:
        """Begin what was previewed, if it still is what was shown."""
        fields = await read_body(request)
        order = read_order(fields, time.time())
        if order.faults:
            return self._page(site, request, order, None, "; ".join(order.faults), 400)
        if order.form.filters.until is None:
            raise HTTPException(400, "this form does not say up to when: look at the preview first")
        shown = await self._preview(site, request, order)
        against = objection(_number(fields.get("planned", "")), fields.get("typed", ""), shown.count)
        if against is not None:
            return self._page(site, request, order, shown, against, 409)
        acting = _acting(request)
        settings = await site.run(lambda: operator_settings(site.settings))
        what, words = order.sentence(shown.count), order.command()
        job = self.jobs.start(
            lambda number: Job(number, what, words, acting),
            functools.partial(carry_out, settings, order, acting),
        )
        return RedirectResponse(site.url(f"/changes/{job.number}"), 303)

    async def progress(self, site: Site, request: Request) -> Response:
        """Show how far a change is, or with ``?live`` the part that moves."""
        job = self.jobs.find(_number(request.path_params["number"]) or 0)
        if job is None:
            raise HTTPException(404, "this console knows no such change since its start: see the audit")
        template = "progress_live.html" if "live" in request.query_params else "progress.html"
        return site.page(request, template, job=job, as_table=False, command="relay audit")

    async def _preview(self, site: Site, request: Request, order: Order) -> Shown:
        acting = _acting(request)
        return await site.run(lambda: preview(operator_settings(site.settings), order, acting, time.time()))

    def _page(
        self, site: Site, request: Request, order: Order, shown: Shown | None, against: str | None, status: int
    ) -> Response:
        return site.page(
            request,
            "change.html",
            status,
            order=order if shown is None else shown.order,
            shown=shown,
            against=against,
            typed_above=TYPED_ABOVE,
            command=order.command(),
        )


def _acting(request: Request) -> str:
    return f"console {visitor_of(request).name}"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
