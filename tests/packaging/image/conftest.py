"""The image of this checkout, built once."""

import os
import re
import shlex
import subprocess

import pytest

from relay import __version__
from tests.support.fix_relay import ROOT


@pytest.fixture(scope="session")
def base() -> str:
    """The image that the relay's is built on: ``PYTHON_IMAGE``, or what the Dockerfile names."""
    named = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert named is not None
    return os.environ.get("PYTHON_IMAGE") or named[1]


@pytest.fixture(scope="session")
def image(base: str) -> str:
    """The image of this checkout; ``DOCKER_BUILD`` has further arguments for its build."""
    tag = "outbox-relay:test"
    told = [f"--build-arg=PYTHON_IMAGE={base}", f"--build-arg=VERSION={__version__}", "--build-arg=REVISION=0123abc"]
    told += [*shlex.split(os.environ.get("DOCKER_BUILD", "")), "--tag", tag]
    build = ROOT / "tests" / "packaging" / "image" / "build.sh"
    done = subprocess.run([build, *told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return tag
