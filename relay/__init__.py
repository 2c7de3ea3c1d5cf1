"""Move committed events from a PostgreSQL outbox to NATS JetStream, and lose none.

The way of an event, and where to read it::

                  wake                 fetch           publish           settle
    delivery/     wakeup.py        ->  fetcher.py  ->  publisher.py  ->  settler.py
                                       due_events.py   refusals.py
    rules/                             order/gaps.py   order/lanes.py    settling/unsettled.py
                                                       sending/envelopes.py
                                                       failure/failures.py
                                                       failure/retry_backoff.py
    postgres/     doorbell.py          outbox_reader.py                  outbox_writer.py
    jetstream/                                         connection.py

`relay.daemon.term` runs the four stages side by side, for one term of `relay.daemon.replica`. ARCHITECTURE.md has the
whole map.

Nothing here may be imported by applications but `relay.projection`. The interface is the table, the messages, the
settings, the commands with their JSON and exit codes, the metrics, and the log actions.
"""

__version__ = "0.1.0"
