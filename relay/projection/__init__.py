"""Read models kept from the stream: each event exactly once, each key in its order.

What is listed in ``__all__`` is the importable part of this package, and keeps its meaning as the schema of the outbox
does. Everything else may change::

    from relay.projection import Event, Projection, Transaction, on, run

The way of an event, and where to read it::

    read                         tell apart              apply                  settle
    term.py                  ->  settler.py          ->  effects.py         ->  store.py
    rules/stream_identity.py     rules/intake.py         applier.py             ports.py
    rules/incoming.py            rules/seq_bits.py       rules/grouping.py
                                                         rules/refusals.py
                                                         rules/suspects.py

`relay.projection.runner` claims a partition and begins again whatever ends: the position lies beside the effects and
moves in their transaction, so there is nothing else to recover. `relay.projection.refresher`
refreshes materialised views.
"""

from relay.projection.definition import Definition, Projection, on, upcast
from relay.projection.event import Event, Transaction
from relay.projection.rules.refreshing import Refresh
from relay.projection.service import run

__all__ = ["Definition", "Event", "Projection", "Refresh", "Transaction", "on", "run", "upcast"]
