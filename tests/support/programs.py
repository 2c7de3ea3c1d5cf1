"""Programs that pip does not have: installed ones, or those that `make test` has unpacked (programs.sh)."""

import os
import shutil
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).parents[2] / ".programs"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", f"{_UNPACKED}/usr/bin", f"{_UNPACKED}/usr/sbin"))


def program(name: str) -> str:
    """Find a program; without it the test cannot be run, which fails if ``CI`` is set."""
    found = shutil.which(name, path=_PLACES)
    if found is None:
        reason = f"pip has no {name}, none is installed, and `make programs` did not fetch it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found


def libraries() -> dict[str, str]:
    """Return the environment in which what was unpacked finds the libraries that were unpacked with it."""
    unpacked = os.pathsep.join(map(str, _UNPACKED.glob("usr/lib/*-linux-gnu*")))
    return {**os.environ, **({"LD_LIBRARY_PATH": unpacked} if unpacked else {})}


def browser() -> str:
    """Return Chromium or Chrome; without one the test cannot be run, as with `program`."""
    # The start script of an unpacked one looks for the rest in /usr.
    unpacked = str(_UNPACKED / "usr" / "lib" / "chromium" / "chromium")
    found = (shutil.which(name, path=_PLACES) for name in (*_BROWSERS[1:], unpacked))
    return next(filter(None, found), None) or program(_BROWSERS[0])
