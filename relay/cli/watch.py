"""Look at the outbox again and again, through restarts of PostgreSQL."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg

from relay.cli.table import message
from relay.config.settings import Settings
from relay.errors import Unreachable
from relay.operate.access import Reader, Watcher, foreseen, watching

T = TypeVar("T")

_PAUSE_S = 1.0


def looks(settings: Settings, look: Callable[[Reader], T], tell: Callable[[str], None] = message) -> Iterator[T]:
    """Yield what `look` finds, for ever, each time in a transaction of its own; the caller waits in between.

    If PostgreSQL goes away after the first look, it is waited for; `tell` is called once with the reason.

    Raises:
        SchemaError: The outbox is not there, or of another version.
        psycopg.OperationalError: PostgreSQL did not answer the first time.
    """
    looked = told = False
    while True:
        try:
            with watching(settings) as watcher:
                while True:
                    found = _once(watcher, look)
                    looked, told = True, False
                    yield found
        except psycopg.OperationalError as error:
            known = foreseen(error)
            if not looked or not isinstance(known, Unreachable):
                raise
            if not told:
                tell(f"waiting: {known}")
            told = True
            time.sleep(_PAUSE_S)


def _once(watcher: Watcher, look: Callable[[Reader], T]) -> T:
    with watcher.look():
        return look(watcher)
