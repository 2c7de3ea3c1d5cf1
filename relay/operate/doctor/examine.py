"""Gather what is known of a set-up, and judge it: what ``relay doctor`` and the console show."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.config.derived_options import envelopes, nats_options
from relay.operate.doctor.facts import Expectation, RedisFacts, Role, Topic
from relay.operate.doctor.findings import Finding
from relay.operate.doctor.gather_nats import Published, gather_nats
from relay.operate.doctor.gather_postgres import gather_postgres
from relay.operate.doctor.gather_seqs import gather_seqs
from relay.operate.doctor.judge_clocks import judge_clocks
from relay.operate.doctor.judge_nats import judge_nats
from relay.operate.doctor.judge_postgres import judge_postgres
from relay.operate.doctor.judge_projections import judge_projections
from relay.operate.doctor.judge_seqs import judge_seqs
from relay.operate.gone_stream import Took

if TYPE_CHECKING:
    from relay.config.settings import Settings


def examine(
    settings: "Settings",
    topics: Sequence[str],
    *,
    trials: bool,
    redis: RedisFacts | None = None,
    took: Took | None = None,
    role: Role = "relay",
) -> list[Finding]:
    """Examine the set-up over the paths that the relay uses, and change nothing.

    Args:
        topics: Topics to try beside those in the table.
        trials: Publish empty messages that no stream accepts, to try each subject.
        took: What streams took that somebody has seen; None: nobody has.
        role: Whose rights in PostgreSQL the login is to have.
        redis: What is known of the projections in Redis; None: nothing is to be said of them.
    """
    postgres, plan = settings.postgres, _plan(settings, role)
    of_postgres = gather_postgres(
        postgres.dsn.get_secret_value(),
        None if postgres.bell_dsn is None else postgres.bell_dsn.get_secret_value(),
        postgres.table,
        postgres.connect_timeout_s,
        postgres.statement_timeout_s,
        role,
    )
    named = [Topic(topic, None, 0, 0, 0) for topic in topics if topic not in {one.topic for one in of_postgres.topics}]
    of_nats = asyncio.run(
        gather_nats(
            nats_options(settings),
            envelopes(settings),
            [*of_postgres.topics, *named],
            Published(of_postgres.streams, took or {}),
            trials=trials,
            numbered=settings.headers.seq,
        )
    )
    of_seqs = gather_seqs(postgres.dsn.get_secret_value(), postgres.table, postgres.connect_timeout_s, of_nats.streams)
    return [
        *judge_postgres(of_postgres, plan),
        *judge_nats(of_nats, plan),
        *judge_seqs(of_seqs),
        *judge_projections(of_postgres, plan, redis),
        *judge_clocks(of_postgres, of_nats),
    ]


def _plan(settings: "Settings", role: Role) -> Expectation:
    delivery, failures, nats = settings.delivery, settings.failures, settings.nats
    return Expectation(
        role=role,
        table=settings.postgres.table,
        bell=delivery.bell,
        bell_dsn=settings.postgres.bell_dsn is not None,
        poll_max_s=delivery.poll_max_s,
        strategy=delivery.strategy,
        ack_timeout_s=delivery.ack_timeout_s,
        # Unanswered, then held until its probe; with the connection lost on the way, and made again.
        resend_s=delivery.ack_timeout_s + failures.hold_max_s + 2 * nats.connect_timeout_s,
        inbox_prefix=nats.inbox_prefix,
        manages_stream=settings.stream.manage,
        sends_key=settings.headers.key,
        sends_seq=settings.headers.seq,
        sends_created_at=settings.headers.created_at,
        watermark=bool(settings.watermark.subject),
        lease_ttl_s=settings.lease.ttl_s,
        heals=settings.healing.on_loss == "redeliver",
    )
