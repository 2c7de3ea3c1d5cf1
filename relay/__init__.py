"""Move committed events from a PostgreSQL outbox to NATS JetStream, and lose none.

The way of an event, and where to read it::

                  wake                 fetch           publish           settle
    delivery/     wakeup.py        ->  fetcher.py  ->  publisher.py  ->  settler.py
                                       retries.py      refusals.py
    rules/                             gaps.py         lanes.py          unsettled.py
                                                       envelopes.py
                                                       failures.py
    postgres/     doorbell.py          outbox_reader.py                  outbox_writer.py
    jetstream/                                         connection.py

`relay.daemon.term` runs the four stages side by side, for one term of `relay.daemon.replica`.

An application inserts a row into ``outbox_events`` in its own transaction. The relay wakes, fetches the rows
above its cursor (`relay.rules.gaps` remembers the seqs that were passed and may still appear), publishes each one
(`relay.rules.lanes` keeps the order of each key), and marks it delivered with the stream and sequence of its
acknowledgement. A refused event is classified (`relay.rules.failures`): held, postponed, or made a dead letter.
"""

__version__ = "0.1.0"
