"""Check projections against the real servers without changing anything: for a pipeline, and before the first run."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from relay.config.derived_options import nats_options
from relay.config.settings import Settings
from relay.jetstream.connection import Connection
from relay.jetstream.consumer import headers_of
from relay.jetstream.errors import BrokerError
from relay.jetstream.stream_look import last_on, look_at
from relay.projection.definition import Definition, given_twice
from relay.projection.refusal import RIGHTS
from relay.projection.rules.header_check import advice, missing_headers, none_of_them
from relay.projection.rules.stream_identity import EXPIRES, THINS
from relay.projection.runner import Way
from relay.projection.service import open_database
from relay.projection.sql_text import parameters
from relay.projection.store import Model, encoding_fault, fault_of_schema, query, read_model
from relay.projection.watermark_watch import goes_elsewhere

_TIMEOUT_S = 30.0


class Findings(NamedTuple):
    """What a check has found, a line each: what `run` refuses or cannot apply, and what may be meant so.

    Each line that `check` returns names the file or class, and the projection.
    """

    faults: list[str]
    warnings: list[str]


async def check(definitions: Sequence[Definition], settings: Settings) -> Findings:
    """Return everything that is wrong.

    The tables are made and each statement is planned, in a transaction that is rolled back. Redis reads the script and
    does not run it. The stream is looked at, and the newest message there that a projection handles.
    """
    faults = given_twice(definitions)
    for definition in definitions:
        faults += definition.located(await _faults_of_store(definition, settings))
    found = await _streams(definitions, settings)
    return Findings([*faults, *found.faults], found.warnings)


async def _faults_of_store(definition: Definition, settings: Settings) -> list[str]:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await (_scripts if definition.store == "redis" else _statements)(definition, settings)
    except psycopg.errors.InsufficientPrivilege as error:
        return [f"PostgreSQL: {error.diag.message_primary}: {RIGHTS}"]
    except psycopg.Error as error:
        return [f"PostgreSQL: {error.diag.message_primary or ' '.join(str(error).split())}"]
    except TimeoutError:
        return [f"no answer within {_TIMEOUT_S:g} s"]


async def _scripts(definition: Definition, settings: Settings) -> list[str]:
    try:
        # The driver is an extra, and only these projections need it.
        from relay.projection.in_redis.service import find_faults
    except ModuleNotFoundError:
        return ["Redis needs outbox-relay[redis]"]
    return await find_faults(definition, settings)


async def _read_model(cursor: psycopg.AsyncRawCursor[Any], name: str) -> Model | None:
    """Read what is written down of a projection's live model; None if there is none."""
    await cursor.execute(query("layout"))
    is_laid = bool((await cursor.fetchall())[0][0])
    return await read_model(cursor, name) if is_laid else None


async def _statements(definition: Definition, settings: Settings) -> list[str]:
    faults: list[str] = []
    async with open_database(settings, "projection check") as database:
        conn = await database.connection()
        async with conn.transaction(force_rollback=True):
            fault = await encoding_fault(psycopg.AsyncRawCursor(conn))
            if fault is not None:
                return [fault]
            model = await _read_model(psycopg.AsyncRawCursor(conn), definition.name)
            if model is None:
                fault = await fault_of_schema(psycopg.AsyncRawCursor(conn), definition.name)
                if fault is not None:
                    return [fault]
            else:
                faults += model.faults(definition)
            schema = sql.Identifier(definition.name)
            made = await conn.execute("SELECT to_regnamespace(%s) IS NOT NULL", (definition.name,))
            is_there = (await made.fetchall())[0][0]
            if not is_there:
                await conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            await conn.execute("SELECT set_config('search_path', %s, true)", (f"{definition.name}, public",))
            if (model is None or not is_there) and definition.tables.strip():
                try:
                    async with conn.transaction():
                        await conn.execute(definition.tables.encode())
                except psycopg.Error as error:
                    return [*faults, f"tables: {error.diag.message_primary}"]
            for number, handler in enumerate(definition.handlers):
                if handler.sql is None:
                    continue
                try:
                    async with conn.transaction():
                        cursor = psycopg.AsyncRawCursor(conn)
                        await cursor.execute(b"EXPLAIN " + handler.sql, parameters([]))
                except psycopg.Error as error:
                    faults.append(f"on.{number} ({handler.topic}): {error.diag.message_primary}")
            faults += await _faults_of_views(psycopg.AsyncRawCursor(conn), definition)
    return faults


async def _faults_of_views(cursor: psycopg.AsyncRawCursor[Any], definition: Definition) -> list[str]:
    """Return which views cannot be refreshed without a lock that stops readers."""
    faults: list[str] = []
    for one in definition.refreshes:
        await cursor.execute(query("refreshable"), [definition.name, one.view])
        is_view, is_unique = (await cursor.fetchall())[0]
        if not is_view:
            faults.append(f"refresh: there is no materialised view {definition.name}.{one.view}")
        elif not is_unique:
            faults.append(
                f"refresh: {one.view} needs a unique index of plain columns, without WHERE: REFRESH "
                "CONCURRENTLY tells rows apart by it"
            )
    return faults


async def _streams(definitions: Sequence[Definition], settings: Settings) -> Findings:
    faults: list[str] = []
    warnings: list[str] = []
    try:
        connection = await Way(nats_options(settings)).connect()
    except BrokerError as error:
        return Findings([line for one in definitions for line in one.located([f"NATS: {error}"])], [])
    try:
        for definition in definitions:
            found = await _stream(connection, definition, settings.watermark.subject)
            faults += definition.located(found.faults)
            warnings += definition.located(found.warnings)
    finally:
        await connection.close()
    return Findings(faults, warnings)


async def _stream(connection: Connection, definition: Definition, watermark: str) -> Findings:
    stream = definition.stream
    try:
        look = await look_at(connection, stream)
    except BrokerError as error:
        return Findings([f"stream {stream}: {error}"], [])
    faults = []
    warnings = [f"stream {stream}: {EXPIRES}"] if look.expires and not definition.partial else []
    if not look.by_limits:
        faults.append(f"stream {stream}: its retention is not limits: it deletes what was acknowledged")
    if look.thins and not definition.partial:
        faults.append(f"stream {stream}: {THINS}")
    if look.first_seq > 1 and not definition.partial:
        faults.append(
            f"stream {stream}: begins at sequence {look.first_seq}: a new projection would stop unless it says "
            "partial = true"
        )
    try:
        elsewhere = await goes_elsewhere(connection, stream, [one.topic for one in definition.handlers])
    except BrokerError as error:
        elsewhere = f"whether another stream takes its topics cannot be seen: {error}"
    if elsewhere is not None:
        warnings.append(elsewhere)
    found = await _newest(connection, definition, watermark)
    return Findings([*faults, *found.faults], [*warnings, *found.warnings])


async def _newest(connection: Connection, definition: Definition, watermark: str) -> Findings:
    """Look for the headers of the relay in the newest message that a projection handles."""
    try:
        found = [await last_on(connection, definition.stream, handler.topic) for handler in definition.handlers]
    except BrokerError as error:
        return Findings([f"its newest message cannot be read: {error}"], [])
    events = [one for one in found if one is not None and one.subject != watermark]
    if not events:
        return Findings([], [])
    newest = max(events, key=lambda one: one.stream_seq)
    missing = missing_headers(headers_of(newest.header_block))
    if not missing:
        return Findings([], [])
    line = f"the newest message of {newest.subject}, sequence {newest.stream_seq}, {advice(missing)}"
    return Findings([line], []) if none_of_them(missing) else Findings([], [line])
