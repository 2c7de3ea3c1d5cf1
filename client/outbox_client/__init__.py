"""Write events into the outbox of outbox-relay, on the caller's connection and in the caller's transaction.

Nothing here opens a connection or commits. An event and the data that it tells of are committed together or not at all.
"""

from outbox_client.errors import InvalidEvent, KeyReused, NotBegun, NotInTransaction
from outbox_client.event import Event
from outbox_client.outbox import Outbox

__version__ = "0.1.0"

__all__ = ["Event", "InvalidEvent", "KeyReused", "NotBegun", "NotInTransaction", "Outbox", "__version__"]
