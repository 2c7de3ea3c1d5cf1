"""What is served beside the pages: ours, or known byte for byte."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from relay.console.site import HERE

STATIC = HERE / "static"
TEMPLATES = sorted((HERE / "templates").glob("*.html"))
# Of package/dist/htmx.min.js in the npm package htmx.org 4.0.1.
HTMX = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


def test_htmx_is_the_file_of_its_package_and_has_its_licence() -> None:
    assert hashlib.sha256((STATIC / "htmx-4.0.1.min.js").read_bytes()).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (STATIC / "htmx-LICENSE.txt").read_text("utf-8")
    for word in (b"eval(", b"new Function"):
        assert word not in (STATIC / "htmx-4.0.1.min.js").read_bytes()


def test_all_assets_together_are_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 70_000


def test_no_template_holds_code_style_or_an_address_of_others() -> None:
    assert TEMPLATES
    for path in TEMPLATES:
        text = path.read_text("utf-8")
        assert not re.search(r"\son[a-z]+=.|\sstyle=.|<style|javascript:|hx-on|\|\s*safe", text), path.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path.name
        assert "//" not in re.sub(r"\{#.*?#\}", "", text), path.name


def test_the_program_imports_the_console_for_its_command_alone() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import relay.cli.console, relay.daemon.serve, relay.cli.status, sys; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert not {"starlette", "uvicorn", "jinja2", "relay.console"} & set(ended.stdout.split())
