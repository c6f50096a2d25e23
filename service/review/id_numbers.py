"""Opens the full ID numbers of a case's persons: one at a time, on record."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.errors import NotFoundError
from service.review import repository
from service.review.access import visible_case
from service.tables import Case


def open_id_numbers(
    session: Session, case_id: UUID, *, actor: Actor, person_ids: Collection[str]
) -> Mapping[str, str]:
    """Return the full numbers of some persons of a case; each is on record each time that it is shown.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division, or one of the persons is not part of it or has
            no number; nothing is then recorded.
    """
    case = visible_case(session, case_id, actor=actor)
    held = _numbers(session, case)
    if not set(person_ids) <= held.keys():
        raise NotFoundError("There is no such number in this case; the registration may have been erased.")
    for person_id in person_ids:
        record(
            session,
            AuditKind.ID_NUMBER_OPENED,
            actor=actor,
            subject=f"person:{person_id}",
            purpose=f"case:{case_id}",
        )
    return {person_id: held[person_id] for person_id in person_ids}


def _numbers(session: Session, case: Case) -> dict[str, str]:
    """Find the numbers of subject and candidates, as far as their registrations are held and have one."""
    keys = {candidate.person_key: candidate.person_id for candidate in case.candidates}
    persons = repository.persons_by_key(session, keys)
    held = {keys[key]: person.citizen_id_number for key, person in persons.items()}
    if case.subject_person_id is not None:
        subject = repository.person_by_id(session, case.subject_person_id)
        held[case.subject_person_id] = subject.citizen_id_number if subject is not None else None
    return {person_id: number for person_id, number in held.items() if number is not None}
