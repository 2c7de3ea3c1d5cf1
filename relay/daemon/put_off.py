"""Modules of the standard library that the daemon loads when it uses them first, or not at all.

Libraries import them in any case, and they would be 1/7 of the memory of a relay at rest: with TLS and hashes comes a
second OpenSSL, since the driver of PostgreSQL brings its own.
docs/design/decisions/0021-what-a-daemon-does-not-load.md has what each of them saves.
"""

import sys
from contextlib import ExitStack
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

# TLS, and the part of asyncio that works with it; then what is for a traceback, a wrong request, a date, names of files
# and archives.
_TLS = ("ssl", "_ssl", "asyncio")
_RARE = ("tokenize", "html", "calendar", "mimetypes", "locale", "bz2", "lzma", "csv")
# Python's own implementations of all that hashlib promises; from 3.12 on the second is in two parts no more.
_HASHES = ({"_md5", "_sha1", "_sha256", "_sha512", "_sha3", "_blake2"}, {"_md5", "_sha1", "_sha2", "_sha3", "_blake2"})

_LOADING = RLock()
_WAITS = "__is_put_off__"


class _Later(ModuleType):
    """A module that is loaded when it is asked for what it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        # What looks through all modules, such as warnings, asks for names of the system's.
        if spec is None or spec.loader is None or name.startswith("__"):
            raise AttributeError(name)
        with _LOADING:
            # False while it is loaded, and afterwards.
            if self.__dict__.pop(_WAITS, False):
                with ExitStack() as unless_loaded:
                    # What fails is tried again at the next use.
                    unless_loaded.callback(self.__dict__.__setitem__, _WAITS, True)
                    spec.loader.exec_module(self)
                    unless_loaded.pop_all()
        if name not in self.__dict__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return self.__dict__[name]


class _NoSocket:
    """asyncio asks of each socket whether it is one with TLS. Before TLS is loaded, none is."""


def put_off() -> None:
    """Have them loaded when something of them is used; those that are loaded stay as they are.

    To be called before anything imports asyncio. Hashes come from Python itself, unless it was built without them.
    """
    around = find_spec("asyncio")
    if not sys.modules.keys() & set(_TLS) and around is not None and find_spec("_ssl") is not None:
        _put_off(find_spec("ssl"), SSLSocket=_NoSocket)
        _put_off(PathFinder.find_spec("asyncio.sslproto", around.submodule_search_locations))
    for name in _RARE:
        if name not in sys.modules:
            _put_off(find_spec(name))
    if not {"hashlib", "_hashlib"} & sys.modules.keys() and any(all(map(find_spec, names)) for names in _HASHES):
        # None is how Python marks what cannot be imported: hashlib takes this as a Python without OpenSSL.
        modules: dict[str, Any] = sys.modules
        modules["_hashlib"] = None


def _put_off(spec: ModuleSpec | None, **known: object) -> None:
    if spec is not None:
        module = _Later(spec.name)
        module.__dict__.update(vars(module_from_spec(spec)), **{_WAITS: True}, **known)
        sys.modules[spec.name] = module
