"""Rows of any table as JSON that both databases read back to the same values."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Date,
    LargeBinary,
    Table,
    Text,
    Uuid,
    cast,
    column,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import TypeEngine

from service.backup.errors import BackupError
from service.tables import Base, UtcDateTime

BATCH = 1000
"""Rows of one item."""

LONGEST_ROWS = 2**30
"""Bytes of one item's rows unpacked."""

_KINDS: Sequence[tuple[type[Any], str]] = (
    (UtcDateTime, "time"),
    (Date, "date"),
    (Uuid, "uuid"),
    (LargeBinary, "bytes"),
    (JSON, "json"),
)
_TYPES: Mapping[str, TypeEngine[Any]] = {
    "time": UtcDateTime(),
    "date": Date(),
    "uuid": Uuid(),
    "bytes": LargeBinary(),
    "json": JSON(none_as_null=True),
}

Columns = Sequence[tuple[str, str]]
"""Name and kind of each column."""


def all_tables() -> list[Table]:
    """Return every table, those first that others refer to."""
    return list(Base.metadata.sorted_tables)


def columns_of(stored: Table) -> Columns:
    """Return name and kind of a table's columns."""
    return [(one.name, _kind(one.type)) for one in stored.columns]


def count_rows(session: Session, stored: Table) -> int:
    """Count a table's rows."""
    return session.scalar(select(func.count()).select_from(stored)) or 0


def packed_rows(session: Session, stored: Table) -> Iterator[tuple[bytes, int, list[dict[str, Any]]]]:
    """Read a whole table in the order of its key; yield rows packed, their number, and as they are."""
    columns = columns_of(stored)
    chosen: list[ColumnElement[Any]] = [
        cast(stored.c[name], Text).label(name) if kind == "json" else stored.c[name] for name, kind in columns
    ]
    query = select(*chosen).order_by(*stored.primary_key.columns).execution_options(yield_per=BATCH)
    for rows in session.execute(query).partitions(BATCH):
        values = [[_told(value, kind) for value, (_, kind) in zip(row, columns, strict=True)] for row in rows]
        packed = zlib.compress(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode(), 1)
        yield packed, len(rows), [dict(row._mapping) for row in rows]


def unpacked_rows(data: bytes, columns: Columns) -> list[dict[str, Any]]:
    """Undo the packing.

    Raises:
        BackupError: It cannot be undone.
    """
    try:
        unpacking = zlib.decompressobj()
        values = json.loads(unpacking.decompress(data, LONGEST_ROWS))
        return [
            {name: _meant(value, kind) for value, (name, kind) in zip(row, columns, strict=True)}
            for row in values
        ]
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise BackupError("the backup is damaged: rows cannot be read") from error


def insert_rows(connection: Connection, name: str, columns: Columns, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows into a table of the schema that the backup was made from."""
    if rows:
        connection.execute(insert(light_table(name, columns)), rows)


def light_table(name: str, columns: Columns) -> TableClause:
    """Describe a table by what the backup says of it."""
    return table(name, *(column(one, _TYPES.get(kind)) for one, kind in columns))


def sequences(session: Session) -> dict[str, int]:
    """Return how far each table's numbers were given out, so that none is ever given out again."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        told = connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
        return {str(row[0]): int(row[1]) for row in told}
    found = {}
    for stored in all_tables():
        sequence = _sequence(connection, stored.name)
        if sequence is not None:
            last, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
            found[stored.name] = last if is_called else 0
    return found


def restore_sequences(connection: Connection, told: dict[str, int], names: Sequence[str]) -> None:
    """Let every table's numbers go on behind those that were ever given out."""
    for name in names:
        highest = int(told.get(name, 0))
        if connection.dialect.name == "sqlite":
            if name not in told or "AUTOINCREMENT" not in _definition(connection, name).upper():
                continue
            values = {"name": name, "value": highest}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :value)"), values)
            continue
        sequence = _sequence(connection, name)
        if sequence is None:
            continue
        key = _serial_column(connection, name)
        largest = connection.scalar(text(f'SELECT max("{key}") FROM "{name}"')) or 0  # noqa: S608 - our own names
        last = max(highest, largest)
        setting = text("SELECT setval(:sequence, :value, :called)")
        connection.execute(setting, {"sequence": sequence, "value": max(last, 1), "called": last > 0})


def _sequence(connection: Connection, name: str) -> str | None:
    key = _serial_column(connection, name)
    if key is None:
        return None
    found = text("SELECT pg_get_serial_sequence(:name, :key)")
    sequence: str | None = connection.scalar(found, {"name": f'"{name}"', "key": key})
    return sequence


def _serial_column(connection: Connection, name: str) -> str | None:
    keys = inspect(connection).get_pk_constraint(name)["constrained_columns"]
    return keys[0] if len(keys) == 1 else None


def _definition(connection: Connection, name: str) -> str:
    query = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    return connection.scalar(query, {"name": name}) or ""


def _kind(type_: Any) -> str:
    return next((kind for cls, kind in _KINDS if isinstance(type_, cls)), "plain")


def _told(value: Any, kind: str) -> Any:
    told = _TELLERS.get(kind)
    return value if told is None or value is None else told(value)


def _meant(value: Any, kind: str) -> Any:
    reader = _READERS.get(kind)
    return value if reader is None or value is None else reader(value)


def _json(told: str) -> Any:
    """Tell JSON's null from no value at all."""
    meant = json.loads(told)
    return JSON.NULL if meant is None else meant


_TELLERS: Mapping[str, Callable[[Any], Any]] = {
    "time": lambda value: value.isoformat(),
    "date": lambda value: value.isoformat(),
    "uuid": lambda value: value.hex,
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "uuid": lambda told: UUID(hex=told),
    "bytes": lambda told: base64.b64decode(told, validate=True),
    "json": _json,
}
