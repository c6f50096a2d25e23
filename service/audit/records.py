"""Events as the chain sees them: texts exactly as they are stored, in one canonical encoding."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from service.audit.keys import AuditKey

ENCODING = "oneperson-audit-1"
"""Stands first in what every code covers, so that another encoding can follow one day."""

TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
"""UTC to the microsecond: how SQLite stores times, and what PostgreSQL is asked for."""

BATCH = 2000
"""Events read at once: about one megabyte."""


class Record(NamedTuple):
    """One event; `details` is the stored JSON text, so that every stored bit counts."""

    id: int
    at: str | None
    kind: str | None
    actor_kind: str | None
    actor: str | None
    role: str | None
    division_code: str | None
    purpose: str | None
    subject: str | None
    result: str | None
    details: str | None
    request_id: str | None
    key_tag: str | None
    previous_mac: str | None
    mac: str | None


FIELDS = Record._fields
TEXTS = FIELDS[1:]


def covered(record: Sequence[object]) -> bytes:
    """Return what a record's code covers: all fields but itself, the code before it among them."""
    return json.dumps([ENCODING, *record[:-1]], separators=(",", ":")).encode()


def code_of(record: Record, key: AuditKey) -> str:
    """Return the code that a record should carry."""
    return key.mac(covered(record))


def read_records(session: Session, *, first: int | None = None, last: int | None = None) -> Iterator[Record]:
    """Read records in order, a batch at a time, whatever somebody has made of them.

    Args:
        session: A consistent view.
        first: Number of the first; default: the smallest there is.
        last: Number of the last; default: the largest there is.
    """
    query = text(_query(session))
    after = first - 1 if first is not None else -(2**63)
    until = last if last is not None else 2**63 - 1
    while True:
        rows = session.execute(query, {"after": after, "until": until, "batch": BATCH}).all()
        for row in rows:
            yield Record(row[0], *(_text(value) for value in row[1:]))
        if len(rows) < BATCH:
            return
        after = rows[-1][0]


def _query(session: Session) -> str:
    """Ask for the stored bytes: what the column types would refuse or mend must be seen as it is."""
    if session.get_bind().dialect.name == "sqlite":
        columns = ", ".join(f"CAST({name} AS BLOB)" for name in TEXTS)
    else:
        special = {
            "at": "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            "details": "CAST(details AS text)",
        }
        columns = ", ".join(special.get(name, name) for name in TEXTS)
    return (
        f"SELECT id, {columns} FROM audit_events "  # noqa: S608 - column names of our own
        "WHERE id > :after AND id <= :until ORDER BY id LIMIT :batch"
    )


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return repr(value)
