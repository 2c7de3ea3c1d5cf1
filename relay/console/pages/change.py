"""Changing many: the preview, its confirmation, and how far it is. Routed only with ``console.write``."""

import asyncio
import functools
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relay.console.changes.carry_out import Shown, begin, carry_out, operator_settings, preview
from relay.console.changes.jobs import Job, Jobs
from relay.console.changes.order import TYPED_ABOVE, Order, asked_to_go_on, number_of, objection, read_order
from relay.console.filter_form import events_path, form_of
from relay.console.form_body import read_body
from relay.console.pages.dead import warnings_of_retry
from relay.console.site import Site, answer_if_new, visitor_of
from relay.operate.changes import AuditLine, audit_line
from relay.operate.claim import holder_of
from relay.operate.filters import from_record
from relay.operate.previews import Confirmed, change_of, is_name
from relay.operate.unfinished import can_go_on


class ChangePages:
    """The pages by which operators change events."""

    def __init__(self) -> None:
        self.jobs = Jobs()

    async def look(self, site: Site, request: Request) -> Response:
        """Show what an order, or the rest of a change (``?resume=``), would do: count, examples, the equal command."""
        order = self._order(request.query_params)
        if isinstance(order, Order) and order.faults:
            return self._page(site, request, order, None, "; ".join(order.faults), 400)
        shown, warnings = await asyncio.gather(self._preview(site, request, order), _warnings(site, order))
        return self._page(site, request, shown.order, shown, None, 200, warnings)

    async def confirm(self, site: Site, request: Request) -> Response:
        """Begin what was previewed, if it still is what was shown; once, however often the form is sent."""
        fields = await read_body(request)
        order = self._order(fields)
        if isinstance(order, Order):
            if order.faults:
                return self._page(site, request, order, None, "; ".join(order.faults), 400)
            if order.form.filters.until is None:
                raise HTTPException(400, "this form does not say up to when: look at the preview first")
        name = fields.get("preview", "")
        earlier = await site.read(lambda reader: change_of(reader, name)) if is_name(name) else None
        if earlier is not None:
            return self._to(site, earlier)
        shown = await self._preview(site, request, order)
        against = objection(number_of(fields.get("planned", "")), fields.get("typed", ""), shown.count)
        if against is not None:
            return self._page(site, request, shown.order, shown, against, 409)
        if not is_name(name):
            raise HTTPException(400, "this form does not say which preview it confirms: look at the preview first")
        acting = _acting(request)
        self.jobs.check_room(shown.order.rest_of)
        settings = await site.run(lambda: operator_settings(site.settings))
        try:
            begun = await site.run(lambda: begin(settings, shown, acting, name))
        except Confirmed as confirmed:
            return self._to(site, confirmed.number)
        does = shown.order.sentence(shown.count)
        job = Job(begun.audit.number, does, shown.order.command(), acting, _page_of(shown.order))
        with ExitStack() as otherwise:
            otherwise.callback(begun.close)
            self.jobs.start(job, functools.partial(carry_out, begun))
            otherwise.pop_all()
        return self._to(site, job.number)

    async def progress(self, site: Site, request: Request) -> Response:
        """Show how far a change is, or with ``?live`` the part that moves."""
        number = number_of(request.path_params["number"]) or 0
        line = holder = None
        job = self.jobs.find(number)
        if job is None:
            line, holder = await site.read(lambda reader: (audit_line(reader, number), holder_of(reader, number)))
            if line is None:
                raise HTTPException(404, "there is no such change: see the audit")
        template = "progress_live.html" if "live" in request.query_params else "progress.html"
        page = site.page(
            request,
            template,
            number=number,
            job=job,
            line=line,
            holder=holder,
            can_go_on=line is not None and can_go_on(line),
            events_page=_events_page(job, line),
            as_table=False,
            command="relay audit",
        )
        return answer_if_new(request, bytes(page.body)) if "live" in request.query_params else page

    @staticmethod
    def _to(site: Site, number: int) -> Response:
        return RedirectResponse(site.url(f"/changes/{number}"), 303)

    def _order(self, given: Mapping[str, str]) -> Order | int:
        rest_of = asked_to_go_on(given)
        return read_order(given, time.time()) if rest_of is None else rest_of

    async def _preview(self, site: Site, request: Request, order: Order | int) -> Shown:
        acting = _acting(request)
        return await site.run(lambda: preview(operator_settings(site.settings), order, acting, time.time()))

    def _page(
        self,
        site: Site,
        request: Request,
        order: Order,
        shown: Shown | None,
        against: str | None,
        status: int,
        warnings: Sequence[str] = (),
    ) -> Response:
        return site.page(
            request,
            "change.html",
            status,
            order=order,
            shown=shown,
            against=against,
            warnings=warnings,
            typed_above=TYPED_ABOVE,
            events_page=_page_of(order),
            command=order.command(),
        )


async def _warnings(site: Site, order: Order | int) -> Sequence[str]:
    """Return what an operator should know of an order; looked for beside its preview, since a page waits for both."""
    if isinstance(order, int) or order.action != "retry":
        return ()
    filters = order.form.filters
    return await site.read(lambda reader: warnings_of_retry(reader, filters))


def _page_of(order: Order) -> str | None:
    return events_path(order.form)


def _events_page(job: Job | None, line: AuditLine | None) -> str | None:
    """Return where the events of a change are shown."""
    if job is not None:
        return job.page
    return None if line is None else events_path(form_of(from_record(json.loads(line.filter))))


def _acting(request: Request) -> str:
    return f"console {visitor_of(request).name}"
