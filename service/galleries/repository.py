"""Queries behind the galleries: heads, changes, whole contents, calibration records."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
from sqlalchemy import Exists, Select, func, insert, select, update
from sqlalchemy.orm import Session

from index.types import Reference, References, Vectors
from service.encryption.templates import opened_template, opened_templates
from service.encryption.vault import vault_of
from service.tables import CalibrationRecord, GalleryChange, GalleryHead, Person, Portrait, Template

ENROL = "enrol"
REMOVE = "remove"
CHUNK = 10_000
"""Rows fetched at a time, so that a large gallery is not held twice in memory."""

NORM_TOLERANCE = 1e-3
"""Largest difference of a stored template's L2 norm from 1; galleries accept no more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change, ready to be applied.

    Attributes:
        position: Its place in the gallery's order.
        kind: `enrol` or `remove`.
        reference_id: What changed.
        stored: Whether the portrait is still in this gallery according to the database.
        reference: Its record, when it is and an undamaged template of the pack exists.
        vector: Its vector bytes, likewise.
    """

    position: int
    kind: str
    reference_id: int
    stored: bool
    reference: Reference | None
    vector: bytes | None


def append_changes(session: Session, gallery: str, changes: Sequence[tuple[str, int, int]]) -> int:
    """Record changes at the end of a gallery's order and return the new last position.

    The head's row stays locked until the transaction ends, so positions commit in
    their order and a reader that saw position p has seen everything before it.

    Args:
        session: The transaction of the change.
        gallery: Its name.
        changes: Kind, reference_id and person_key of each.
    """
    moved = (
        update(GalleryHead)
        .where(GalleryHead.gallery == gallery)
        .values(position=GalleryHead.position + len(changes))
        .returning(GalleryHead.position)
    )
    last = session.execute(moved).scalar_one()
    first = last - len(changes) + 1
    if changes:
        session.execute(
            insert(GalleryChange),
            [
                {
                    "gallery": gallery,
                    "position": first + offset,
                    "kind": kind,
                    "reference_id": reference_id,
                    "person_key": person_key,
                }
                for offset, (kind, reference_id, person_key) in enumerate(changes)
            ],
        )
    return last


def heads(session: Session) -> dict[str, int]:
    """Return the last committed position of every gallery."""
    rows = session.execute(select(GalleryHead.gallery, GalleryHead.position))
    return {gallery: position for gallery, position in rows}  # noqa: C416 - typed rows


def epoch(session: Session, gallery: str) -> str:
    """Return the mark of the database that a gallery is a copy of."""
    return session.scalars(select(GalleryHead.epoch).where(GalleryHead.gallery == gallery)).one()


def changes_after(
    session: Session, gallery: str, *, position: int, contract_id: str, dimension: int
) -> Iterator[Change]:
    """Read the changes committed after a position, in order.

    Args:
        session: A consistent view.
        gallery: Its name.
        position: The last one that is already known.
        contract_id: Of the pack whose templates are wanted.
        dimension: Of that pack's templates.
    """
    query = (
        select(
            GalleryChange.position,
            GalleryChange.kind,
            GalleryChange.reference_id,
            Person.key,
            Person.gallery,
            Person.sex,
            Person.birth_date,
            Template.vector,
        )
        .outerjoin(Portrait, Portrait.reference_id == GalleryChange.reference_id)
        .outerjoin(Person, Person.key == Portrait.person_key)
        .outerjoin(
            Template,
            (Template.reference_id == GalleryChange.reference_id) & (Template.contract_id == contract_id),
        )
        .where(GalleryChange.gallery == gallery, GalleryChange.position > position)
        .order_by(GalleryChange.position)
    )
    vault = vault_of(session)
    for row in session.execute(query.execution_options(yield_per=CHUNK)):
        at, kind, reference_id, key, where, sex, birth_date, sealed = row
        stored = key is not None and where == gallery
        vector = None if sealed is None else opened_template(vault, reference_id, contract_id, sealed)
        known = stored and vector is not None and is_template(vector, dimension)
        yield Change(
            position=at,
            kind=kind,
            reference_id=reference_id,
            stored=stored,
            reference=(
                Reference(reference_id, key, int(sex or 0), birth_date.year if birth_date else 0)
                if known
                else None
            ),
            vector=vector if known else None,
        )


def load_references(
    session: Session, gallery: str, contract_id: str, dimension: int
) -> tuple[References, set[int]]:
    """Read a whole gallery from the database.

    Args:
        session: A consistent view.
        gallery: Its name.
        contract_id: Of the pack whose templates are wanted.
        dimension: Of that pack's templates.

    Returns:
        The references, and the ids of those whose template is damaged, which are left out.
    """
    total = count_templates(session, gallery, contract_id)
    ids = np.empty(total, dtype=np.int64)
    keys = np.empty(total, dtype=np.int64)
    sexes = np.empty(total, dtype=np.uint8)
    years = np.empty(total, dtype=np.uint16)
    vectors: Vectors = np.empty((total, dimension), dtype=np.float32)
    at = 0
    damaged: set[int] = set()
    for read, spoilt in stream_references(session, gallery, contract_id, dimension):
        part = slice(at, at + len(read))
        ids[part], keys[part], vectors[part] = read.reference_ids, read.person_keys, read.vectors
        sexes[part], years[part] = read.sexes, read.birth_years
        damaged |= spoilt
        at += len(read)
    return References(ids[:at], keys[:at], sexes[:at], years[:at], vectors[:at]), damaged


def stream_references(
    session: Session, gallery: str, contract_id: str, dimension: int
) -> Iterator[tuple[References, set[int]]]:
    """Read a whole gallery from the database in parts of at most `CHUNK`, by ascending reference_id.

    Args:
        session: A consistent view.
        gallery: Its name.
        contract_id: Of the pack whose templates are wanted.
        dimension: Of that pack's templates.

    Yields:
        References, and the ids of those whose template is damaged, which are left out.
    """
    vault = vault_of(session)
    query = _enrolled(gallery, contract_id).order_by(Portrait.reference_id)
    for fetched in session.execute(query.execution_options(yield_per=CHUNK)).partitions():
        opened = opened_templates(vault, contract_id, ((row[0], row[4]) for row in fetched))
        sound = are_templates(opened, dimension)
        rows = [row for row, is_sound in zip(fetched, sound, strict=True) if is_sound]
        whole = (vector for vector, is_sound in zip(opened, sound, strict=True) if is_sound)
        vectors = np.frombuffer(b"".join(whole), dtype="<f4").reshape(-1, dimension)
        references = References(
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.int64),
            np.array([int(row[2] or 0) for row in rows], dtype=np.uint8),
            np.array([row[3].year if row[3] else 0 for row in rows], dtype=np.uint16),
            vectors,
        )
        yield references, {row[0] for row, is_sound in zip(fetched, sound, strict=True) if not is_sound}


def are_templates(stored: Sequence[bytes], dimension: int) -> list[bool]:
    """Tell of stored bytes whether they can be templates: their length, and an L2 norm of 1."""
    whole = [vector if len(vector) == 4 * dimension else bytes(4 * dimension) for vector in stored]
    rows = np.frombuffer(b"".join(whole), dtype="<f4").reshape(-1, dimension)
    with np.errstate(invalid="ignore"):  # Damaged bytes may be NaN, which no comparison lets pass.
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return [bool(fits) for fits in np.abs(norms - 1.0) <= NORM_TOLERANCE]


def is_template(vector: bytes, dimension: int) -> bool:
    """Tell whether stored bytes can be a template."""
    return are_templates([vector], dimension)[0]


def template(session: Session, reference_id: int, contract_id: str) -> bytes | None:
    """Return what a pack made of a portrait; no bytes where it was altered."""
    row = session.get(Template, (reference_id, contract_id))
    if row is None:
        return None
    return opened_template(vault_of(session), reference_id, contract_id, row.vector)


def damaged_templates(session: Session, contract_id: str, dimension: int) -> list[int]:
    """List the references whose template of a pack is damaged."""
    query = select(Template.reference_id, Template.vector).where(Template.contract_id == contract_id)
    vault = vault_of(session)
    damaged: list[int] = []
    for rows in session.execute(query.execution_options(yield_per=CHUNK)).partitions():
        opened = opened_templates(vault, contract_id, ((row[0], row[1]) for row in rows))
        sound = are_templates(opened, dimension)
        damaged += [row[0] for row, is_sound in zip(rows, sound, strict=True) if not is_sound]
    return damaged


def discard_damaged(
    session: Session, reference_ids: Collection[int], contract_id: str, dimension: int
) -> None:
    """Delete those of some templates that are damaged still, so that they are made again."""
    for reference_id in reference_ids:
        vector = template(session, reference_id, contract_id)
        if vector is not None and not is_template(vector, dimension):
            session.delete(session.get_one(Template, (reference_id, contract_id)))


def _enrolled(gallery: str, contract_id: str) -> Select[int, int, str | None, date | None, bytes]:
    query: Select[int, int, str | None, date | None, bytes] = (
        select(Portrait.reference_id, Person.key, Person.sex, Person.birth_date, Template.vector)
        .join(Person, Person.key == Portrait.person_key)
        .join(Template, Template.reference_id == Portrait.reference_id)
        .where(Person.gallery == gallery, Template.contract_id == contract_id)
    )
    return query


def count_templates(session: Session, gallery: str, contract_id: str) -> int:
    """Count a pack's templates of the portraits that belong into a gallery."""
    return session.scalar(_enrolled(gallery, contract_id).with_only_columns(func.count())) or 0


def count_portraits(session: Session, gallery: str) -> int:
    """Count the portraits that belong into a gallery, whatever their templates."""
    query = (
        select(func.count())
        .select_from(Portrait)
        .join(Person, Person.key == Portrait.person_key)
        .where(Person.gallery == gallery)
    )
    return session.scalar(query) or 0


class Unencoded(NamedTuple):
    """An enrolled portrait that a pack has not encoded."""

    person_id: str
    reference_id: int
    location: str
    landmarks: list[list[float]]


def unencoded_among(session: Session, reference_ids: Collection[int], contract_id: str) -> list[Unencoded]:
    """Return those of some references that are enrolled and encoded, but by other packs only.

    One without any template has lost it, which nobody should make up for unasked.
    """
    query = (
        select(Person.person_id, Portrait.reference_id, Portrait.location, Portrait.landmarks)
        .join(Person, Person.key == Portrait.person_key)
        .where(Portrait.reference_id.in_(reference_ids), Person.gallery.is_not(None))
        .where(~_has_template(contract_id))
        .where(select(Template.reference_id).where(Template.reference_id == Portrait.reference_id).exists())
        .order_by(Portrait.reference_id)
    )
    return [Unencoded(*row) for row in session.execute(query)]


def portraits_without_template(
    session: Session, contract_id: str, *, after: int, limit: int
) -> list[Unencoded]:
    """List person_id, reference_id, location and landmarks of enrolled portraits not encoded by a pack.

    Args:
        session: A view.
        contract_id: Of the pack.
        after: The last reference_id seen.
        limit: Rows wanted.
    """
    query = (
        select(Person.person_id, Portrait.reference_id, Portrait.location, Portrait.landmarks)
        .join(Person, Person.key == Portrait.person_key)
        .where(Person.gallery.is_not(None), Portrait.reference_id > after)
        .where(~_has_template(contract_id))
        .order_by(Portrait.reference_id)
        .limit(limit)
    )
    return [Unencoded(*row) for row in session.execute(query)]


def unencoded(session: Session, gallery: str, contract_id: str) -> set[int]:
    """List the references that belong into a gallery but that a pack has not encoded."""
    query = (
        select(Portrait.reference_id)
        .join(Person, Person.key == Portrait.person_key)
        .where(Person.gallery == gallery, ~_has_template(contract_id))
    )
    return set(session.scalars(query))


def any_unencoded(session: Session, gallery: str, contract_id: str) -> bool:
    """Tell whether a gallery has references that a pack has not encoded."""
    query = (
        select(Portrait.reference_id)
        .join(Person, Person.key == Portrait.person_key)
        .where(Person.gallery == gallery, ~_has_template(contract_id))
        .limit(1)
    )
    return session.scalar(query) is not None


def _has_template(contract_id: str) -> Exists:
    return (
        select(Template.reference_id)
        .where(Template.reference_id == Portrait.reference_id, Template.contract_id == contract_id)
        .exists()
    )


def latest_calibration(session: Session, gallery: str, contract_id: str) -> CalibrationRecord | None:
    """Return the newest calibration record of a gallery with a pack."""
    query = (
        select(CalibrationRecord)
        .where(CalibrationRecord.gallery == gallery, CalibrationRecord.contract_id == contract_id)
        .order_by(CalibrationRecord.created_at.desc(), CalibrationRecord.id)
        .limit(1)
    )
    return session.scalar(query)
