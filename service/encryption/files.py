"""Every encrypted file that a row points to, with its owner: what a re-encryption must go through."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.database import Database
from service.portrait_store import owner_of_check, owner_of_person
from service.review.attachments import owner_of_file
from service.tables import Attachment, Check, Person, Portrait

BATCH = 1000
"""Rows read at a time."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a row points to.

    Attributes:
        store: `portrait` or `evidence`.
        column: Where the row holds the location.
        key: The row.
        location: In the store.
        owner: Whose it is there.
    """

    store: str
    column: InstrumentedAttribute[Any]
    key: Any
    location: str
    owner: str


def stored_files(database: Database) -> Iterator[StoredFile]:
    """Yield every file that a row points to; the rows are read in parts, so nobody is held up."""
    persons = select(Portrait.reference_id, Portrait.location, Person.person_id).join(
        Person, Person.key == Portrait.person_key
    )
    for key, location, person_id in _parts(database, persons, Portrait.reference_id):
        yield StoredFile("portrait", Portrait.location, key, location, owner_of_person(person_id))
    probes = select(Check.id, Check.probe_location, Check.transaction_id)
    probes = probes.where(Check.probe_location.is_not(None))
    for key, location, transaction_id in _parts(database, probes, Check.id):
        yield StoredFile("portrait", Check.probe_location, key, location, owner_of_check(transaction_id))
    for key, location in _parts(database, select(Attachment.id, Attachment.location), Attachment.id):
        yield StoredFile("evidence", Attachment.location, key, location, owner_of_file(key))


def relocate(session: Session, file: StoredFile, location: str) -> bool:
    """Point a row to another file, unless it was changed or erased since."""
    table = file.column.class_
    key = Portrait.reference_id if table is Portrait else table.id
    moved = update(table).where(key == file.key, file.column == file.location)
    changed = moved.values({file.column.key: location}).returning(key)
    return session.execute(changed, execution_options={"synchronize_session": False}).first() is not None


def hold(session: Session, file: StoredFile) -> bool:
    """Keep a row that points to a file from being changed or erased until the transaction ends.

    Whoever erases a file erases its row first, so the file stays as long. Tells whether the row still is.
    """
    table = file.column.class_
    key = Portrait.reference_id if table is Portrait else table.id
    held = select(key).where(key == file.key, file.column == file.location).with_for_update()
    return session.execute(held).first() is not None


def _parts(
    database: Database, query: Select[*tuple[Any, ...]], key: InstrumentedAttribute[Any]
) -> Iterator[Any]:
    after = None
    while True:
        part = query if after is None else query.where(key > after)
        with database.read() as session:
            rows = session.execute(part.order_by(key).limit(BATCH)).all()
        yield from rows
        if len(rows) < BATCH:
            return
        after = rows[-1][0]
