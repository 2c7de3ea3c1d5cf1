"""Chromium, driven by Playwright's async API: its own fixtures quarrel with a running loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, async_playwright

from tests.support.fix_console import Console
from tests.support.programs import browser, libraries

Scheme = Literal["light", "dark"]
_HEIGHT = 900


@dataclass
class Watched:
    """A page of the console, and what no page may do.

    Attributes:
        faults: Errors of the page, refusals of the policy, requests to others, answers that failed.
    """

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Begin to take note of faults."""
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on(
            "console",
            lambda message: (
                self.faults.append(f"console: {message.text}") if message.type in ("error", "warning") else None
            ),
        )
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("requestfailed", lambda request: self._failed(request.url, request.failure or ""))

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.faults.append(f"a request to others: {url}")

    def _failed(self, url: str, why: str) -> None:
        # A stream of events and a refresh end with their page.
        if "ERR_ABORTED" not in why:
            self.faults.append(f"failed: {url} {why}")

    async def shows(self, path: str) -> None:
        """Go to a page, and wait until it is there."""
        await self.page.goto(f"{self.origin}{path}", wait_until="load")

    async def looks(self, scheme: Scheme, width: int) -> None:
        """Show the page that is there in another window."""
        await self.page.emulate_media(color_scheme=scheme)
        await self.page.set_viewport_size({"width": width, "height": _HEIGHT})

    async def violations(self) -> list[dict[str, Any]]:
        """Return what axe finds wrong with the page as it is shown now."""
        # Half a megabyte of axe once for a page, not once for each window, and nothing back of what is right.
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE_SCRIPT)
        found: list[dict[str, Any]] = await self.page.evaluate(
            "axe.run({resultTypes: ['violations']}).then(results => results.violations)"
        )
        return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start it; without one the test is skipped, or fails if ``CI`` is set."""
    path = browser()
    environ: dict[str, str | float | bool] = {**libraries()}
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=path, env=environ, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def watched(
    started: Browser,
    console: Console,
    *,
    scheme: Scheme = "light",
    width: int = 1440,
    scripts: bool = True,
    bypass_policy: bool = False,
) -> AsyncIterator[Watched]:
    """Open a window of a width, with the session of a console, and watch what its pages do."""
    context = await started.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": _HEIGHT},
        java_script_enabled=scripts,
        reduced_motion="reduce",
        bypass_csp=bypass_policy,
    )
    origin = f"http://{console.host}"
    if console.cookie is not None:
        name, _, value = console.cookie.partition("=")
        await context.add_cookies([{"name": name, "value": value, "url": origin}])
    try:
        one = Watched(await context.new_page(), origin)
        one.watch()
        yield one
    finally:
        await context.close()
