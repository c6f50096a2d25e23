"""Tells whether registrations are stored already, many at a time."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.persons.schemas import RegistrationFields
from service.tables import Person, Portrait, Template


@dataclass(frozen=True, slots=True)
class StoredRegistration:
    """What is stored of one person.

    Attributes:
        fields: Values by the names of `RegistrationFields`.
        gallery: Where the person is enrolled.
        portraits: Day on which it was taken, by the portrait's SHA-256.
        unencoded: Number of portraits without a template of the pack asked for.
    """

    fields: dict[str, Any] = field(repr=False)
    gallery: str | None
    portraits: dict[str, date | None]
    unencoded: int

    def holds(
        self, fields: RegistrationFields, gallery: str | None, portraits: Collection[str] | None
    ) -> bool:
        """Tell whether storing this again would change nothing.

        Args:
            fields: The registration.
            gallery: Where policy enrols the person, None when nowhere.
            portraits: SHA-256 of all portraits; None when those stored are to be kept.
        """
        if any(getattr(fields, name) != value for name, value in self.fields.items()):
            return False
        if gallery is None:
            return self.gallery is None and (portraits is None or not self.portraits)
        if self.unencoded or (portraits is not None and set(portraits) != self.portraits.keys()):
            return False
        return self.gallery == (gallery if self.portraits else None)


def stored_registrations(
    session: Session, person_ids: Collection[str], contract_id: str
) -> dict[str, StoredRegistration]:
    """Read what is stored of some persons; those that are not known are missing from the answer.

    Args:
        session: A consistent view.
        person_ids: The population system's keys, a few hundred at most.
        contract_id: The pack whose templates count.
    """
    columns = [getattr(Person, name) for name in RegistrationFields.model_fields]
    persons = session.execute(
        select(Person.person_id, Person.gallery, *columns).where(Person.person_id.in_(person_ids))
    ).all()
    portraits = _portraits(session, person_ids, contract_id)
    return {
        person_id: StoredRegistration(
            fields=dict(zip(RegistrationFields.model_fields, values, strict=True)),
            gallery=gallery,
            portraits={sha256: taken_on for sha256, taken_on, _ in portraits.get(person_id, ())},
            unencoded=sum(not encoded for *_, encoded in portraits.get(person_id, ())),
        )
        for person_id, gallery, *values in persons
    }


def _portraits(
    session: Session, person_ids: Collection[str], contract_id: str
) -> dict[str, list[tuple[str, date | None, bool]]]:
    """List SHA-256, day, and whether the pack has encoded it, for every portrait of some persons."""
    rows = session.execute(
        select(Person.person_id, Portrait.sha256, Portrait.taken_on, Template.reference_id)
        .join(Portrait, Portrait.person_key == Person.key)
        .outerjoin(
            Template,
            (Template.reference_id == Portrait.reference_id) & (Template.contract_id == contract_id),
        )
        .where(Person.person_id.in_(person_ids))
    )
    found: dict[str, list[tuple[str, date | None, bool]]] = {}
    for person_id, sha256, taken_on, template in rows:
        found.setdefault(person_id, []).append((sha256, taken_on, template is not None))
    return found
