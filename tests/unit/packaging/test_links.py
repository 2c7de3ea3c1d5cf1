"""What the documentation points at exists: pages, headings, and the pages that code, charts and configuration name."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OWN = (
    ".github",
    "bench",
    "client",
    "compose",
    "docs",
    "examples",
    "helm",
    "packaging",
    "relay",
    "requirements",
    "sql",
    "tests",
)
PAGES = sorted(
    page for folder in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in OWN)) for page in folder
)
FILES = sorted(
    path
    for name in OWN
    for path in (ROOT / name).rglob("*")
    if path.suffix in {".py", ".sql", ".toml", ".yaml", ".yml", ".json", ".tpl", ".txt", ".sh", ".conf", ".md"}
) + [path for path in ROOT.iterdir() if path.is_file()]


def text_of(page: Path) -> str:
    """Return the prose of a page: code blocks left out, in which brackets mean something else."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in titles)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def test_every_page_that_a_file_names_exists() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        if "__pycache__" not in path.parts
        for name in re.findall(r"(?<![\w/.-])docs/[\w/-]+\.md\b", path.read_text("utf-8", errors="ignore"))
        if not (ROOT / name).exists()
    ]
    assert not missing
