"""Runs a sample of the producers' guide that is not Python, in the program that ``programs/`` has for it.

Toolchains are those of ``PATH``, their drivers those that the machine has or `make drivers` has fetched. Nothing is
fetched here: without one of them the test says what is lacking and is left out.
"""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from samples import ROOT, block_of

_HERE = Path(__file__).parent / "programs"
_FETCHED = ROOT / ".programs"
# The longest that a compiler may take on a laden machine, with its standard library to compile first.
_TIMEOUT_S = 240


def go(directory: Path, producer: str) -> None:
    """Compile the Go sample, and run it."""
    program = _tool("go", "/usr/local/go/bin")
    for name in ("go.mod", "go.sum"):
        shutil.copy(_HERE / name, directory)
    _fill("main.go", block_of("go"), directory)
    # Neither a module nor another toolchain is looked for outside of this machine.
    env = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "PRODUCER": f"{producer}?sslmode=disable"}
    if (_FETCHED / "go").is_dir():
        env["GOMODCACHE"] = str(_FETCHED / "go")
    if _run([program, "mod", "download"], directory, env).returncode:
        _lacking("the Go module of a driver")
    _done(_run([program, "build", "-o", "sample", "."], directory, env))
    _done(_run([str(directory / "sample")], directory, env))


def java(directory: Path, producer: str) -> None:
    """Compile the Java sample, and run it."""
    program, compiler = _tool("java"), _tool("javac")
    candidates = (
        Path("/usr/share/java/postgresql.jar"),
        *(_FETCHED / "java").glob("postgresql*.jar"),
        *Path.home().glob(".m2/repository/org/postgresql/postgresql/*/postgresql-[0-9]*.jar"),
    )
    # A link whose file is gone is no driver.
    places = [candidate for candidate in candidates if candidate.is_file()]
    if not places:
        _lacking("a JDBC driver of PostgreSQL")
    _fill("Main.java", block_of("java"), directory)
    at = urlsplit(producer)
    env = {
        "PRODUCER": f"jdbc:postgresql://{at.hostname}:{at.port}{at.path}",
        "PRODUCER_USER": unquote(at.username or ""),
        "PRODUCER_PASSWORD": unquote(at.password or ""),
    }
    _done(_run([compiler, "Main.java"], directory, env))
    _done(_run([program, "-cp", f"{directory}{os.pathsep}{places[0]}", "Main"], directory, env))


def js(directory: Path, producer: str) -> None:
    """Run the Node sample."""
    program = _tool("node")
    env = {"NODE_PATH": str(_FETCHED / "node" / "node_modules"), "PRODUCER": producer}
    if _run([program, "-e", 'require.resolve("pg")'], directory, env).returncode:
        _lacking("the Node package pg")
    _fill("main.js", block_of("js"), directory)
    _done(_run([program, "main.js"], directory, env))


RUN = {"go": go, "java": java, "js": js}


def _tool(name: str, *places: str) -> str:
    """Find the toolchain of a language; without it nobody here can compile the guide's sample."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *places)))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _lacking(what: str) -> None:
    """Skip: a driver of another language is no Python package; `make drivers` fetches it, as CI does."""
    pytest.skip(f"this machine has not {what}: make drivers")


def _fill(name: str, sample: str, directory: Path) -> None:
    """Put a sample into its program."""
    text = (_HERE / name).read_text("utf-8")
    assert text.count("// SAMPLE\n") == 1
    (directory / name).write_text(text.replace("// SAMPLE\n", sample), "utf-8")


def _run(command: list[str], directory: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=directory, env=os.environ | env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )


def _done(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr
