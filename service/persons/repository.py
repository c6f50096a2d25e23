"""Queries for registrations and portraits."""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.tables import Person, Portrait, Template


def person(session: Session, person_id: str) -> Person | None:
    """Find a registration by the population system's key."""
    return session.scalar(select(Person).where(Person.person_id == person_id))


def persons_for_update(session: Session, person_ids: Sequence[str]) -> dict[str, Person]:
    """Find registrations with their portraits, and lock them until the transaction ends."""
    query = (
        select(Person)
        .where(Person.person_id.in_(person_ids))
        .order_by(Person.person_id)
        .with_for_update()
        .options(selectinload(Person.portraits))
    )
    return {person.person_id: person for person in session.scalars(query)}


def encoded_portraits(session: Session, person_id: str, contract_id: str) -> set[str]:
    """List the SHA-256 of a person's portraits that have a template of a pack."""
    query = (
        select(Portrait.sha256)
        .join(Person, Person.key == Portrait.person_key)
        .join(Template, Template.reference_id == Portrait.reference_id)
        .where(Person.person_id == person_id, Template.contract_id == contract_id)
    )
    return set(session.scalars(query))


def person_ids(session: Session, keys: Collection[int]) -> dict[int, str]:
    """Translate a gallery's person keys; erased persons are missing from the answer."""
    if not keys:
        return {}
    rows = session.execute(select(Person.key, Person.person_id).where(Person.key.in_(keys)))
    return {key: person_id for key, person_id in rows}  # noqa: C416 - typed rows


def latest_template(session: Session, person_key: int, contract_id: str) -> tuple[Portrait, bytes] | None:
    """Return a person's newest portrait that has a template of a pack, with the template's bytes.

    One that was altered gives no bytes.
    """
    query = (
        select(Portrait, Template.vector)
        .join(Template, Template.reference_id == Portrait.reference_id)
        .where(Portrait.person_key == person_key, Template.contract_id == contract_id)
        .order_by(Portrait.taken_on.desc().nulls_last(), Portrait.reference_id.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    if row is None:
        return None
    portrait, sealed = row
    return portrait, opened_template(vault_of(session), portrait.reference_id, contract_id, sealed)
