"""Move committed events from a PostgreSQL outbox to NATS JetStream, and lose none.

The way of an event, and where to read it::

    wake         ->  fetch       ->  publish       ->  settle
    doorbell.py      fetcher.py      publisher.py      settler.py
    rest.py          gaps.py         lanes.py          books.py
                     retries.py      subjects.py
                                     failures.py

Below them `relay.outbox` is what is asked of the database and `relay.jetstream` what is asked of the broker; above them
`relay.pipeline` runs the four side by side, for one term of `relay.app`.

An application inserts a row into ``outbox_events`` in its own transaction. The relay wakes, fetches the rows
above its cursor (`relay.gaps` remembers the seqs that were passed and may still appear), publishes each one
(`relay.lanes` keeps the order of each key), and marks it delivered with the stream and sequence of its
acknowledgement. What is refused is classified (`relay.failures`): held, postponed, or made a dead letter.
"""

__version__ = "0.1.0"
