"""Find the projections that a command names: files, folders of files, and classes as ``module:Class``."""

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from relay.errors import ConfigError
from relay.projection.definition import Definition, Projection
from relay.projection.toml_file import read_paths

_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def read_sources(sources: Sequence[str]) -> list[Definition]:
    """Read files and every ``*.toml`` of folders, and import classes; a module is also looked for in this folder.

    Args:
        sources: Paths, or ``module:Class``. What exists as a path is taken for one.

    Raises:
        ConfigError: Something is wrong; it holds every fault.
    """
    found: list[Definition] = []
    faults: list[str] = []
    for source in sources:
        path = Path(source)
        named = None if path.exists() else _CLASS.fullmatch(source)
        try:
            found += read_paths([path]) if named is None else [_definition(named[1], named[2])]
        except ConfigError as error:
            faults += error.lines
    if faults:
        raise ConfigError(faults)
    return found


def _definition(module_name: str, class_name: str) -> Definition:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the author's module lacks is another fault than a wrong name on the command line.
        raise ConfigError([f"{module_name}:{class_name}: there is no module {error.name}"]) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Projection):
        raise ConfigError([f"{module_name}:{class_name}: is no subclass of relay.projection.Projection"])
    return found.definition()
